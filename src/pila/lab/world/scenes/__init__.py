"""The scenes, a file each. `ALL` holds one of each, in the order of their categories."""

from pila.lab.world.scene import Scene
from pila.lab.world.scenes.ball_collision import BallCollision
from pila.lab.world.scenes.billiards import Billiards
from pila.lab.world.scenes.blast_ring import BlastRing
from pila.lab.world.scenes.boiling_pot import BoilingPot
from pila.lab.world.scenes.bouncing_ball import BouncingBall
from pila.lab.world.scenes.contact_bodies import ContactBodies
from pila.lab.world.scenes.dyed_vortex import DyedVortex
from pila.lab.world.scenes.freezing_front import FreezingFront
from pila.lab.world.scenes.gliding_puck import GlidingPuck
from pila.lab.world.scenes.hot_spot import HotSpot
from pila.lab.world.scenes.melting_disc import MeltingDisc
from pila.lab.world.scenes.mirror import Mirror
from pila.lab.world.scenes.newtons_cradle import NewtonsCradle
from pila.lab.world.scenes.refraction import Refraction
from pila.lab.world.scenes.ripples import Ripples
from pila.lab.world.scenes.rolling_ball import RollingBall
from pila.lab.world.scenes.shock_tube import ShockTube
from pila.lab.world.scenes.sloshing_tank import SloshingTank
from pila.lab.world.scenes.smoke_puff import SmokePuff
from pila.lab.world.scenes.soft_ball import SoftBall
from pila.lab.world.scenes.spinning_bar import SpinningBar
from pila.lab.world.scenes.spring_mass import SpringMass
from pila.lab.world.scenes.thrown_ball import ThrownBall
from pila.lab.world.scenes.vibrating_beam import VibratingBeam

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
