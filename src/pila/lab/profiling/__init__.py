"""What the adapter costs on the models that people run; `pila profile`.

Denoisers are built at their real configurations with random weights: speed does not depend on the
weights' values, and nothing has to be downloaded.
"""
