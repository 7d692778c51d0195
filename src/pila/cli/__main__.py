"""For launchers: torchrun ... -m pila.cli data cache ..."""

from pila.cli import main

if __name__ == "__main__":
    main()
