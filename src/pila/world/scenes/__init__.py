"""The scenes, a file each. `ALL` holds one of each, in the order of their categories."""

from pila.world.scene import Scene
from pila.world.scenes.ball_collision import BallCollision
from pila.world.scenes.billiards import Billiards
from pila.world.scenes.blast_ring import BlastRing
from pila.world.scenes.boiling_pot import BoilingPot
from pila.world.scenes.bouncing_ball import BouncingBall
from pila.world.scenes.contact_bodies import ContactBodies
from pila.world.scenes.dyed_vortex import DyedVortex
from pila.world.scenes.freezing_front import FreezingFront
from pila.world.scenes.gliding_puck import GlidingPuck
from pila.world.scenes.hot_spot import HotSpot
from pila.world.scenes.melting_disc import MeltingDisc
from pila.world.scenes.mirror import Mirror
from pila.world.scenes.newtons_cradle import NewtonsCradle
from pila.world.scenes.refraction import Refraction
from pila.world.scenes.ripples import Ripples
from pila.world.scenes.rolling_ball import RollingBall
from pila.world.scenes.shock_tube import ShockTube
from pila.world.scenes.sloshing_tank import SloshingTank
from pila.world.scenes.smoke_puff import SmokePuff
from pila.world.scenes.soft_ball import SoftBall
from pila.world.scenes.spinning_bar import SpinningBar
from pila.world.scenes.spring_mass import SpringMass
from pila.world.scenes.thrown_ball import ThrownBall
from pila.world.scenes.vibrating_beam import VibratingBeam

ALL: tuple[Scene, ...] = (
    ThrownBall(),
    GlidingPuck(),
    SpinningBar(),
    RollingBall(),
    SpringMass(),
    VibratingBeam(),
    SoftBall(),
    SloshingTank(),
    DyedVortex(),
    SmokePuff(),
    BlastRing(),
    ShockTube(),
    FreezingFront(),
    MeltingDisc(),
    BoilingPot(),
    BallCollision(),
    BouncingBall(),
    NewtonsCradle(),
    Billiards(),
    HotSpot(),
    ContactBodies(),
    Ripples(),
    Refraction(),
    Mirror(),
)
