//! What a player can bump into or stand on.

use crate::math::clamp;

/// A vertical prism over a rectangle or a disc, with a flat or sloping top.
#[derive(Clone, Debug)]
pub struct Solid {
    /// Centre of the footprint, metres.
    pub center: [f32; 2],
    /// Direction of the local x axis (cosine and sine of the yaw).
    pub axis: [f32; 2],
    /// Half extents along the local axes; a disc's radius is `half[0]`.
    pub half: [f32; 2],
    /// A disc instead of a rectangle.
    pub round: bool,
    /// Height of the lower face.
    pub bottom: f32,
    /// Height of the top at the centre.
    pub top: f32,
    /// Rise of the top per metre along local y.
    pub slope: f32,
}

/// Where a point stands relative to a footprint.
pub struct Contact {
    /// Unit direction that leaves the footprint soonest.
    pub out: [f32; 2],
    /// Distance to the border along `out`; negative inside.
    pub gap: f32,
    /// Height of the top at the nearest point of the footprint.
    pub top: f32,
}

impl Solid {
    /// World to local coordinates.
    pub fn local(&self, x: f32, y: f32) -> [f32; 2] {
        let (dx, dy) = (x - self.center[0], y - self.center[1]);
        [dx * self.axis[0] + dy * self.axis[1], dy * self.axis[0] - dx * self.axis[1]]
    }

    /// Radius of a circle round the centre that holds the footprint.
    pub fn reach(&self) -> f32 {
        if self.round { self.half[0] } else { (self.half[0] * self.half[0] + self.half[1] * self.half[1]).sqrt() }
    }

    /// Highest point of the top.
    pub fn peak(&self) -> f32 {
        self.top + self.slope.abs() * self.half[1]
    }

    /// Relation of the point (x, y) to the footprint.
    pub fn contact(&self, x: f32, y: f32) -> Contact {
        let p = self.local(x, y);
        let (out, gap, ly) = if self.round {
            let d = (p[0] * p[0] + p[1] * p[1]).sqrt();
            let out = if d > 1e-6 { [p[0] / d, p[1] / d] } else { [0.0, -1.0] };
            (out, d - self.half[0], clamp(p[1], -self.half[0], self.half[0]))
        } else {
            let q = [clamp(p[0], -self.half[0], self.half[0]), clamp(p[1], -self.half[1], self.half[1])];
            let (dx, dy) = (p[0] - q[0], p[1] - q[1]);
            let d = (dx * dx + dy * dy).sqrt();
            if d > 1e-6 {
                ([dx / d, dy / d], d, q[1])
            } else {
                let ex = self.half[0] - p[0].abs();
                let ey = self.half[1] - p[1].abs();
                if ex < ey {
                    ([if p[0] < 0.0 { -1.0 } else { 1.0 }, 0.0], -ex, q[1])
                } else {
                    ([0.0, if p[1] < 0.0 { -1.0 } else { 1.0 }], -ey, q[1])
                }
            }
        };
        Contact {
            out: [out[0] * self.axis[0] - out[1] * self.axis[1], out[0] * self.axis[1] + out[1] * self.axis[0]],
            gap,
            top: self.top + self.slope * ly,
        }
    }

    /// Whether a point lies inside the solid grown by `margin`.
    pub fn holds(&self, p: [f32; 3], margin: f32) -> bool {
        if p[2] < self.bottom - margin {
            return false;
        }
        let c = self.contact(p[0], p[1]);
        c.gap < margin && p[2] < c.top + margin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> Solid {
        Solid {
            center: [1.0, 2.0],
            axis: [0.0, 1.0],
            half: [1.0, 2.0],
            round: false,
            bottom: 0.0,
            top: 0.5,
            slope: 0.25,
        }
    }

    #[test]
    fn a_turned_ramp_rises_along_its_own_axis() {
        // Yaw of a quarter turn: local y points to world -x.
        let c = ramp().contact(-1.0, 2.0);
        assert!((c.top - 1.0).abs() < 1e-6, "{}", c.top);
        let c = ramp().contact(3.0, 2.0);
        assert!(c.top.abs() < 1e-6, "{}", c.top);
        assert!(c.gap.abs() < 1e-6);
    }

    #[test]
    fn the_way_out_leads_out() {
        let solid = ramp();
        for (x, y) in [(1.2, 2.9), (-0.9, 2.1), (2.0, 1.2), (1.0, 2.0)] {
            let c = solid.contact(x, y);
            assert!(c.gap < 0.0);
            let far = c.out.map(|d| d * (0.01 - c.gap));
            assert!(solid.contact(x + far[0], y + far[1]).gap > 0.0);
        }
    }
}
