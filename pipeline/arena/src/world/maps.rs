//! The maps themselves.

use super::build::{Builder, Stuff, ring};
use super::ground::to_segment;
use super::scene::Lighting;
use super::{Look, World};
use crate::math::{PI, V3, atan2, lerp, normalize, sin_cos, smoothstep, wrap};
use crate::texture::{fractal, id, noise};

const NORTH: f32 = PI / 2.0;

/// Left is red with stripes, middle is yellow with arrows, right is blue with checks: on every map, so that colour and
/// pattern mean the same everywhere.
const LEFT: Stuff = (id::STRIPES, [0.95, 0.22, 0.16]);
const MIDDLE: Stuff = (id::CHEVRON, [1.0, 0.82, 0.10]);
const RIGHT: Stuff = (id::CHECKS, [0.22, 0.36, 1.0]);

fn mix3(a: V3, b: V3, t: f32) -> V3 {
    core::array::from_fn(|k| lerp(a[k], b[k], t))
}

/// How strongly a path from a to b, `width` wide and frayed, covers a point.
fn path(x: f32, y: f32, a: [f32; 2], b: [f32; 2], width: f32) -> f32 {
    let fray = 1.2 * (noise(x, y, 64, 60) - 0.5);
    1.0 - smoothstep(width * 0.5 - 0.3, width * 0.5 + 0.3, to_segment(x, y, a, b) + fray)
}

/// Takes a bite of the given depth and angular width out of a coast.
fn notch(angle: f32, at: f32, width: f32, depth: f32) -> f32 {
    depth * (1.0 - smoothstep(width * 0.45, width, wrap(angle - at).abs()))
}

fn three_pads(b: &mut Builder, places: [[f32; 3]; 3], stone: Stuff) {
    for ([x, y, yaw], (pattern, tint)) in places.into_iter().zip([LEFT, MIDDLE, RIGHT]) {
        b.pad(x, y, yaw, pattern, tint, stone);
    }
}

/// Where episodes begin in the garden: name, place, heading.
type Start = (&'static str, [f32; 2], f32);

/// A garden on a floating island: lawns, ruins and crates, with notches in the coast and a hole in the east.
pub fn skygarden() -> World {
    garden(
        "skygarden",
        &[
            ("south", [0.0, -20.0], NORTH),
            ("south-west", [-7.5, -19.0], NORTH),
            ("south-east", [7.5, -19.0], NORTH),
            ("west", [-14.5, -15.5], NORTH),
            ("east", [14.5, -15.5], NORTH),
            ("far-west", [-20.0, -10.0], NORTH),
            ("far-east", [20.5, -10.0], NORTH),
            ("inner-west", [-5.5, -12.0], NORTH),
            ("inner-east", [5.5, -12.0], NORTH),
            ("centre", [0.2, -10.6], NORTH),
        ],
    )
}

/// The same garden from other starts, to see what an agent makes of them: places in which nobody begins, facing north as usual, and
/// the usual places, facing elsewhere.
pub fn skygarden_astray() -> World {
    let (east, west) = (0.0, PI);
    garden(
        "skygarden-astray",
        &[
            ("new-south", [-3.8, -17.0], NORTH),
            ("new-west", [-16.0, -9.5], NORTH),
            ("new-east", [15.0, -8.0], NORTH),
            ("new-middle", [-1.8, -6.0], NORTH),
            ("new-inner", [9.5, -13.5], NORTH),
            ("turned-south", [0.0, -20.0], -NORTH),
            ("turned-west", [-14.5, -15.5], west),
            ("turned-east", [14.5, -15.5], east),
            ("turned-centre", [0.2, -10.6], -NORTH),
            ("turned-inner", [-5.5, -12.0], west),
        ],
    )
}

fn garden(name: &'static str, starts: &[Start]) -> World {
    let sun = normalize([-0.45, -0.55, 0.85]);
    let mut b = Builder::new(Look {
        lighting: Lighting { sun, direct: [0.66, 0.62, 0.50], ambient: [0.40, 0.44, 0.52] },
        zenith: [0.24, 0.48, 0.86],
        horizon: [0.74, 0.86, 0.95],
        abyss: [0.62, 0.76, 0.90],
        cloud: [1.0, 1.0, 1.0],
        haze: 130.0,
    });
    let cliff = (id::CLIFF, [0.72, 0.56, 0.42]);
    let coast = ring([0.0, 0.0], 64, |a| {
        let wobble = 1.0 * sin_cos(a * 5.0 + 0.7).0 + 0.6 * sin_cos(a * 11.0).0;
        let bites = notch(a, PI * 0.64, 0.13, 8.0)
            + notch(a, PI * 0.365, 0.13, 8.0)
            + notch(a, PI * 1.06, 0.16, 6.0)
            + notch(wrap(a), -PI * 0.05, 0.16, 6.0)
            + notch(a, PI * 1.37, 0.10, 4.0);
        [30.0 + wobble - bites, 25.0 + wobble - bites]
    });
    b.outline(coast, cliff);
    b.outline(ring([10.5, -1.0], 18, |a| [2.3 + 0.4 * sin_cos(a * 3.0).0; 2]), cliff);
    b.outline(ring([-20.0, 3.0], 16, |a| [1.9 + 0.3 * sin_cos(a * 2.0 + 1.0).0; 2]), cliff);

    let stone = (id::STONE, [0.86, 0.84, 0.80]);
    let brick = (id::BRICK, [0.86, 0.62, 0.50]);
    let rock = (id::ROCK, [0.70, 0.70, 0.72]);
    three_pads(&mut b, [[-18.0, 13.5, 0.55], [0.0, 18.5, 0.0], [18.0, 13.5, -0.55]], stone);

    // Ruined walls, with gaps to run through.
    b.block([-7.5, -5.0, 0.25], [7.0, 0.8], [0.0, 2.6], stone, stone);
    b.block([-13.2, -1.5, 0.9], [4.5, 0.8], [0.0, 2.2], stone, stone);
    b.block([8.5, -7.0, -0.3], [6.0, 0.8], [0.0, 2.6], stone, stone);
    b.block([0.5, 4.0, 0.0], [6.0, 1.0], [0.0, 3.0], brick, stone);
    b.block([14.5, 3.8, -0.8], [5.0, 0.8], [0.0, 2.4], brick, stone);
    b.block([-10.0, 8.0, 0.7], [4.0, 0.8], [0.0, 1.8], brick, stone);
    b.block([20.5, -5.5, 1.2], [4.0, 0.8], [0.0, 2.2], stone, stone);
    for (x, y) in [(-3.2, -8.5), (3.2, -8.5), (-4.6, 9.5), (4.6, 9.5), (-4.0, 0.0), (4.6, 0.6)] {
        b.pillar(x, y, 0.5, 3.6, stone);
    }
    let wood = [0.86, 0.62, 0.36];
    let dark = [0.66, 0.48, 0.32];
    for (x, y, yaw, side, tint) in [
        (-11.5, -9.5, 0.3, 1.3, wood),
        (-10.2, -10.3, 0.9, 1.0, dark),
        (12.5, -11.0, 0.1, 1.3, wood),
        (1.6, -3.6, 0.6, 1.2, wood),
        (0.2, -3.0, 0.2, 0.9, dark),
        (-14.5, 6.0, 0.5, 1.3, dark),
        (9.2, 9.4, 0.2, 1.3, wood),
        (10.6, 8.7, 0.8, 1.0, dark),
        (-2.5, 13.4, 0.4, 1.0, wood),
        (23.0, 2.0, 0.0, 1.3, wood),
        (-22.5, -4.0, 0.7, 1.3, wood),
    ] {
        b.crate_box(x, y, yaw, side, tint);
    }
    let leaf = [0.40, 0.66, 0.24];
    let lime = [0.56, 0.74, 0.28];
    for (x, y, height, tint) in [
        (-24.0, -8.0, 5.6, leaf),
        (-24.5, 8.5, 5.2, lime),
        (-12.0, 16.5, 5.8, leaf),
        (-6.0, 4.2, 5.0, lime),
        (6.8, 4.6, 5.4, leaf),
        (12.6, 17.0, 5.4, lime),
        (24.4, 8.0, 5.8, leaf),
        (24.6, -9.0, 5.4, lime),
        (17.5, -1.5, 4.8, leaf),
        (-17.0, -6.5, 5.0, leaf),
        (0.0, -14.6, 4.6, lime),
    ] {
        b.tree(x, y, height, tint);
    }
    let pine = [0.22, 0.46, 0.30];
    for (x, y, height) in [
        (-11.0, -20.5, 6.0),
        (11.2, -20.3, 6.4),
        (-21.0, -15.0, 5.6),
        (21.2, -15.0, 6.0),
        (-27.0, 1.0, 5.4),
        (26.8, 3.8, 6.0),
        (-6.4, 21.0, 5.6),
        (6.4, 21.0, 5.2),
        (-15.0, 19.3, 5.0),
        (15.6, 19.2, 5.0),
    ] {
        b.pine(x, y, height, pine);
    }
    for (x, y, r, h) in
        [(-17.5, -12.5, 1.0, 1.2), (17.8, -12.0, 1.1, 1.2), (5.5, 14.0, 0.9, 1.1), (-25.5, 4.8, 1.1, 1.3)]
    {
        b.mound(x, y, r, h, (id::LEAF, [0.36, 0.58, 0.26]));
    }
    for (x, y, r, h) in [(7.2, -14.8, 1.1, 1.1), (-6.8, -15.6, 1.0, 1.0), (20.5, 8.8, 1.0, 1.2), (-8.0, 12.6, 1.0, 1.1)]
    {
        b.mound(x, y, r, h, rock);
    }
    for &(name, [x, y], heading) in starts {
        b.spawn(name, x, y, heading);
    }
    let grass = [0.46, 0.68, 0.30];
    for (x, y, z, r) in [
        (-70.0, 75.0, 4.0, 13.0),
        (52.0, 110.0, 12.0, 16.0),
        (100.0, 20.0, -4.0, 14.0),
        (-95.0, -30.0, 8.0, 15.0),
        (20.0, -105.0, 3.0, 14.0),
    ] {
        b.islet(x, y, z, r, grass, [0.66, 0.54, 0.44]);
    }
    b.finish(name, 200, |x, y, edge| {
        let n = fractal(x / 6.0, y / 6.0, 16, 4, 50);
        let patch = smoothstep(0.42, 0.62, fractal(x / 10.0 + 3.0, y / 10.0, 16, 3, 51));
        let lawn = mix3([0.34, 0.58, 0.22], [0.56, 0.74, 0.30], n);
        let mut c = mix3(lawn, [0.46, 0.62, 0.24], patch * 0.7);
        let mut trail = 0.0f32;
        for (a, b, w) in [
            ([0.0, -19.0], [0.0, -6.0], 2.4),
            ([0.0, -6.0], [-3.0, 1.5], 2.0),
            ([-3.0, 1.5], [0.0, 12.0], 2.0),
            ([0.0, -6.0], [-14.8, 8.0], 1.8),
            ([0.0, -6.0], [6.2, 1.5], 1.8),
            ([6.2, 1.5], [14.8, 8.0], 1.8),
            ([-14.0, -15.0], [0.0, -17.0], 1.8),
            ([14.0, -15.0], [0.0, -17.0], 1.8),
        ] {
            trail = trail.max(path(x, y, a, b, w));
        }
        c = mix3(c, mix3([0.78, 0.68, 0.48], [0.88, 0.80, 0.62], n), trail);
        let rim = 1.0 - smoothstep(0.25, 1.1, edge + 0.5 * (n - 0.5));
        mix3(c, [0.62, 0.50, 0.34], rim)
    })
}

/// A walled castle yard in the evening, with colonnades and two sunken pits.
pub fn courtyard() -> World {
    let sun = normalize([0.65, -0.35, 0.55]);
    let mut b = Builder::new(Look {
        lighting: Lighting { sun, direct: [0.78, 0.56, 0.34], ambient: [0.42, 0.38, 0.46] },
        zenith: [0.30, 0.34, 0.62],
        horizon: [0.96, 0.72, 0.50],
        abyss: [0.22, 0.18, 0.24],
        cloud: [1.0, 0.80, 0.66],
        haze: 110.0,
    });
    let cliff = (id::BRICK, [0.60, 0.48, 0.42]);
    b.outline(vec![[-27.0, -23.0], [27.0, -23.0], [27.0, 23.0], [-27.0, 23.0]], cliff);
    b.outline(vec![[-12.5, -1.0], [-6.0, -1.0], [-6.0, 5.0], [-12.5, 5.0]], cliff);
    b.outline(vec![[6.0, -1.0], [12.5, -1.0], [12.5, 5.0], [6.0, 5.0]], cliff);
    let wall = (id::STONE, [0.92, 0.80, 0.62]);
    let roof = (id::BRICK, [0.78, 0.42, 0.32]);
    for (x, y, w, d) in
        [(0.0, 22.4, 54.0, 1.2), (0.0, -22.4, 54.0, 1.2), (-26.4, 0.0, 1.2, 43.6), (26.4, 0.0, 1.2, 43.6)]
    {
        b.block([x, y, 0.0], [w, d], [0.0, 4.2], wall, roof);
    }
    for (x, y) in [(-25.5, 21.5), (25.5, 21.5), (-25.5, -21.5), (25.5, -21.5)] {
        b.pillar(x, y, 2.4, 7.0, (id::BRICK, [0.90, 0.70, 0.52]));
    }
    three_pads(&mut b, [[-21.0, 9.0, 0.9], [0.0, 17.0, 0.0], [21.0, 9.0, -0.9]], wall);
    for k in 0..6 {
        let x = -17.5 + 7.0 * k as f32;
        b.pillar(x, -7.0, 0.55, 3.8, wall);
        if k != 2 && k != 3 {
            b.pillar(x, 10.5, 0.5, 3.4, wall);
        }
    }
    for (x, y, yaw, w) in [
        (0.0, 1.6, 0.0, 5.0),
        (-17.0, 0.5, 0.5, 5.0),
        (17.0, 0.5, -0.5, 5.0),
        (-7.0, -13.0, 0.2, 4.0),
        (7.0, -13.0, -0.2, 4.0),
    ] {
        b.block([x, y, yaw], [w, 0.9], [0.0, 2.0], (id::BRICK, [0.86, 0.60, 0.44]), wall);
    }
    for (x, y, yaw, side) in [
        (-4.0, 7.5, 0.4, 1.2),
        (4.4, 8.3, 0.2, 1.3),
        (-13.0, -10.0, 0.8, 1.3),
        (13.6, -10.4, 0.1, 1.2),
        (-22.0, -6.0, 0.0, 1.4),
        (22.2, -5.0, 0.5, 1.4),
    ] {
        b.crate_box(x, y, yaw, side, [0.80, 0.56, 0.34]);
    }
    for (x, y) in [(-23.0, -15.0), (23.0, -15.0), (-10.0, 17.8), (10.0, 17.8)] {
        b.tree(x, y, 4.8, [0.62, 0.54, 0.20]);
    }
    for (x, y) in [(-3.6, -3.6), (3.6, -3.6), (-15.0, 14.5), (15.0, 14.5)] {
        b.mound(x, y, 0.9, 1.1, (id::LEAF, [0.40, 0.50, 0.22]));
    }
    for (name, x, y) in [
        ("gate", 0.0, -19.0),
        ("gate-west", -6.0, -18.5),
        ("gate-east", 6.0, -18.5),
        ("west", -13.0, -17.5),
        ("east", 13.0, -17.5),
        ("corner-west", -19.5, -12.5),
        ("corner-east", 19.5, -12.5),
        ("middle", 0.0, -12.0),
    ] {
        b.spawn(name, x, y, NORTH);
    }
    b.finish("courtyard", 200, |x, y, edge| {
        let n = fractal(x / 4.0, y / 4.0, 16, 4, 52);
        // Flagstones, two metres square, each with its own shade.
        let cell = |v: f32| ((v + 64.0) / 2.0) as i32;
        let (cx, cy) = (cell(x + (cell(y) % 2) as f32), cell(y));
        let tone = crate::texture::lattice(cx, cy, 53);
        let into = |v: f32, c: i32| (v + 64.0) / 2.0 - c as f32;
        let (fx, fy) = (into(x + (cy % 2) as f32, cx), into(y, cy));
        let joint = fx.min(fy) < 0.06;
        let flag = mix3([0.62, 0.52, 0.42], [0.80, 0.70, 0.56], 0.5 * tone + 0.5 * n);
        let mut c = if joint { flag.map(|v| v * 0.72) } else { flag };
        let carpet = path(x, y, [0.0, -20.0], [0.0, -1.0], 2.2);
        c = mix3(c, [0.62, 0.34, 0.28], carpet * 0.6);
        mix3(c, [0.44, 0.36, 0.32], 1.0 - smoothstep(0.2, 0.7, edge))
    })
}

/// Red rock on both banks of a ravine that three bridges cross.
pub fn canyon() -> World {
    let sun = normalize([-0.2, -0.6, 0.8]);
    let mut b = Builder::new(Look {
        lighting: Lighting { sun, direct: [0.74, 0.64, 0.48], ambient: [0.40, 0.38, 0.40] },
        zenith: [0.22, 0.50, 0.74],
        horizon: [0.95, 0.86, 0.70],
        abyss: [0.46, 0.30, 0.24],
        cloud: [1.0, 0.96, 0.90],
        haze: 100.0,
    });
    let cliff = (id::CLIFF, [0.84, 0.48, 0.32]);
    b.outline(
        ring([0.0, 0.0], 56, |a| {
            let w = 0.9 * sin_cos(a * 7.0).0 + 0.6 * sin_cos(a * 4.0 + 1.0).0;
            [28.5 + w, 24.5 + w]
        }),
        cliff,
    );
    // The ravine in four pieces; what is left between them are the bridges and the ways round.
    for (x0, x1) in [(-25.5, -16.5), (-12.5, -2.2), (2.2, 12.5), (16.5, 25.5)] {
        let y = |x: f32| 1.2 * sin_cos(x * 0.22).0;
        b.outline(vec![[x0, y(x0) - 2.0], [x1, y(x1) - 2.0], [x1, y(x1) + 2.2], [x0, y(x0) + 2.2]], cliff);
    }
    let red = (id::ROCK, [0.86, 0.52, 0.36]);
    let pale = (id::ROCK, [0.92, 0.70, 0.50]);
    let layers = (id::CLIFF, [0.88, 0.54, 0.36]);
    three_pads(&mut b, [[-19.0, 14.0, 0.35], [1.0, 17.5, 0.05], [19.0, 13.0, -0.6]], (id::STONE, [0.85, 0.68, 0.52]));
    for (x, y, yaw, w, d, h) in [
        (-9.0, -10.0, 0.4, 4.0, 3.0, 3.2),
        (9.5, -9.0, -0.3, 4.5, 2.6, 3.6),
        (-9.0, 9.5, 0.2, 3.4, 3.0, 3.0),
        (10.0, 9.0, 0.6, 3.6, 2.8, 3.4),
        (-23.0, -8.5, 0.2, 3.4, 6.0, 5.0),
        (23.0, -9.0, -0.2, 3.4, 6.0, 5.4),
        (-9.5, 20.0, 0.3, 5.0, 2.6, 4.4),
        (11.5, 19.0, -0.2, 4.4, 2.6, 4.8),
        (1.5, 7.5, 0.1, 3.6, 1.6, 2.2),
    ] {
        b.block([x, y, yaw], [w, d], [0.0, h], layers, pale);
    }
    for (x, y, r, h) in [
        (-4.0, -6.2, 0.8, 4.4),
        (4.4, -5.6, 0.7, 3.6),
        (-15.0, -5.6, 0.9, 5.0),
        (15.4, -5.2, 0.8, 4.2),
        (-15.4, 6.2, 0.8, 3.6),
        (15.0, 6.0, 0.9, 4.6),
    ] {
        b.pillar(x, y, r, h, red);
    }
    for (x, y, r, h) in [
        (-1.5, -13.8, 1.1, 1.2),
        (12.0, -15.0, 1.2, 1.3),
        (-13.4, -15.4, 1.1, 1.1),
        (5.4, 12.6, 1.0, 1.1),
        (-4.8, 13.0, 1.0, 1.2),
        (24.5, 5.0, 1.4, 1.5),
        (-24.0, 6.0, 1.4, 1.6),
    ] {
        b.mound(x, y, r, h, red);
    }
    for (x, y, h) in [(-19.5, -13.5, 4.0), (19.4, -14.0, 4.4), (7.5, -19.4, 3.8), (-24.5, 12.0, 4.0), (25.0, 10.5, 4.0)]
    {
        b.pine(x, y, h, [0.44, 0.52, 0.26]);
    }
    for (x, y, yaw) in [(3.4, -11.0, 0.2), (-17.5, -9.5, 0.7), (6.6, 5.2, 0.4), (-13.0, 12.5, 0.3)] {
        b.crate_box(x, y, yaw, 1.2, [0.74, 0.54, 0.36]);
    }
    for (name, x, y) in [
        ("camp", 0.0, -19.5),
        ("camp-west", -6.5, -18.5),
        ("camp-east", 6.0, -16.0),
        ("west", -14.0, -18.0),
        ("east", 15.0, -17.5),
        ("rim-west", -19.0, -10.0),
        ("rim-east", 18.5, -9.5),
        ("ledge", -3.0, -10.5),
    ] {
        b.spawn(name, x, y, NORTH);
    }
    b.islet(-60.0, 90.0, 2.0, 18.0, [0.86, 0.56, 0.40], [0.74, 0.44, 0.32]);
    b.islet(70.0, 80.0, 6.0, 20.0, [0.88, 0.60, 0.42], [0.74, 0.44, 0.32]);
    b.finish("canyon", 200, |x, y, edge| {
        let n = fractal(x / 5.0, y / 5.0, 16, 4, 54);
        let angle = atan2(y + 40.0, x);
        let strata = noise(angle * 40.0, y / 2.0, 64, 55);
        let mut c = mix3([0.78, 0.52, 0.36], [0.92, 0.72, 0.50], 0.6 * n + 0.4 * strata);
        let trail = path(x, y, [0.0, -19.0], [0.0, 12.0], 2.4)
            .max(path(x, y, [-2.0, -14.0], [-14.5, 0.0], 2.0))
            .max(path(x, y, [2.0, -14.0], [14.5, 0.0], 2.0));
        c = mix3(c, [0.96, 0.84, 0.64], trail * 0.7);
        mix3(c, [0.58, 0.32, 0.22], 1.0 - smoothstep(0.2, 0.9, edge))
    })
}
