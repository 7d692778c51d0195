"""The scenes, a file each. `ALL` holds one of each, in the order of their categories."""

from pila.world.scene import Scene
from pila.world.scenes.ball_collision import BallCollision
from pila.world.scenes.hot_spot import HotSpot
from pila.world.scenes.thrown_ball import ThrownBall

ALL: tuple[Scene, ...] = (ThrownBall(), BallCollision(), HotSpot())
