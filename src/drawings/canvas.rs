//! A small anti-aliased canvas: smooth shapes, strokes and gradients.

use tiny_skia::{
    Color, FillRule, GradientStop, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Point,
    RadialGradient, Shader, SpreadMode, Stroke, Transform,
};

use super::colour::Colour;

/// A point in the canvas' current coordinates.
pub(super) type Xy = (f32, f32);

/// Fill of a shape.
#[derive(Clone, Copy)]
pub(super) struct Ink {
    colour: Colour,
    opacity: f32,
    shine: f32,
}

impl Ink {
    pub(super) fn flat(colour: Colour) -> Self {
        Self {
            colour,
            opacity: 1.0,
            shine: 0.0,
        }
    }

    /// Lighter at the middle and darker at the rim, as a round body in daylight.
    pub(super) fn shaded(colour: Colour) -> Self {
        Self {
            colour,
            opacity: 1.0,
            shine: 0.35,
        }
    }

    pub(super) fn opacity(self, opacity: f32) -> Self {
        Self { opacity, ..self }
    }
}

/// A square transparent picture with a current transform.
pub(super) struct Canvas {
    pixmap: Pixmap,
    transform: Transform,
}

impl Canvas {
    /// Creates a transparent canvas of `size` pixels a side, in pixel coordinates.
    pub(super) fn new(size: u32) -> Self {
        let pixmap =
            Pixmap::new(size, size).expect("the sides of drawings are small and not nought");
        Self {
            pixmap,
            transform: Transform::identity(),
        }
    }

    /// Moves the origin to `centre` (pixels); from then on one unit spans `scale` pixels, and the x axis
    /// points `angle` radians clockwise of right. `squash` shrinks the y axis, a negative one mirrors it.
    pub(super) fn place(&mut self, centre: Xy, scale: f32, squash: f32, angle: f32) {
        let (sin, cos) = angle.sin_cos();
        let (y_scale, x_scale) = (scale * squash, scale);
        self.transform = Transform::from_row(
            cos * x_scale,
            sin * x_scale,
            -sin * y_scale,
            cos * y_scale,
            centre.0,
            centre.1,
        );
    }

    pub(super) fn pixmap(&self) -> &Pixmap {
        &self.pixmap
    }

    pub(super) fn pixmap_mut(&mut self) -> &mut Pixmap {
        &mut self.pixmap
    }

    /// Fills the polygon through `corners`.
    pub(super) fn polygon(&mut self, corners: &[Xy], ink: Ink) {
        self.fill(straight(corners, true), ink);
    }

    /// Fills the smooth closed curve through `points`.
    pub(super) fn blob(&mut self, points: &[Xy], ink: Ink) {
        self.fill(smooth(points, true), ink);
    }

    /// Outlines the smooth closed curve through `points`.
    pub(super) fn outline(&mut self, points: &[Xy], width: f32, ink: Ink) {
        self.stroke(smooth(points, true), width, ink);
    }

    /// Strokes the smooth open curve through `points`.
    pub(super) fn curve(&mut self, points: &[Xy], width: f32, ink: Ink) {
        self.stroke(smooth(points, false), width, ink);
    }

    /// Strokes straight pieces from point to point.
    pub(super) fn line(&mut self, points: &[Xy], width: f32, ink: Ink) {
        self.stroke(straight(points, false), width, ink);
    }

    /// Fills a straight bar that is `from` wide at its first end and `to` at the other.
    pub(super) fn taper(&mut self, start: Xy, end: Xy, from: f32, to: f32, ink: Ink) {
        let (dx, dy) = (end.0 - start.0, end.1 - start.1);
        let length = dx.hypot(dy).max(1e-6);
        let (nx, ny) = (-dy / length * 0.5, dx / length * 0.5);
        let corners = [
            (start.0 + nx * from, start.1 + ny * from),
            (end.0 + nx * to, end.1 + ny * to),
            (end.0 - nx * to, end.1 - ny * to),
            (start.0 - nx * from, start.1 - ny * from),
        ];
        self.polygon(&corners, ink);
    }

    /// Fills an ellipse whose first radius lies along `angle`.
    pub(super) fn ellipse(&mut self, centre: Xy, radii: Xy, angle: f32, ink: Ink) {
        self.blob(&ellipse(centre, radii, angle), ink);
    }

    pub(super) fn dot(&mut self, centre: Xy, radius: f32, ink: Ink) {
        self.ellipse(centre, (radius, radius), 0.0, ink);
    }

    fn fill(&mut self, path: Option<Path>, ink: Ink) {
        let Some(path) = path else { return };
        let bounds = path.bounds();
        let middle = Point::from_xy(
            bounds.left() + bounds.width() * 0.45,
            bounds.top() + bounds.height() * 0.4,
        );
        let paint = paint(ink, middle, bounds.width().max(bounds.height()) * 0.6);
        self.pixmap
            .fill_path(&path, &paint, FillRule::Winding, self.transform, None);
    }

    fn stroke(&mut self, path: Option<Path>, width: f32, ink: Ink) {
        let Some(path) = path else { return };
        let stroke = Stroke {
            width,
            line_cap: LineCap::Round,
            line_join: LineJoin::Round,
            ..Stroke::default()
        };
        let paint = paint(Ink { shine: 0.0, ..ink }, Point::zero(), 1.0);
        self.pixmap
            .stroke_path(&path, &paint, &stroke, self.transform, None);
    }
}

/// Returns eight points of an ellipse, enough for [`Canvas::blob`].
pub(super) fn ellipse(centre: Xy, radii: Xy, angle: f32) -> Vec<Xy> {
    let (sin, cos) = angle.sin_cos();
    (0..8)
        .map(|step| {
            let (up, along) = (step as f32 * std::f32::consts::FRAC_PI_4).sin_cos();
            let (x, y) = (along * radii.0, up * radii.1);
            (centre.0 + x * cos - y * sin, centre.1 + x * sin + y * cos)
        })
        .collect()
}

fn paint(ink: Ink, middle: Point, radius: f32) -> Paint<'static> {
    let solid = |colour: Colour| {
        let unit = |value: f32| value.clamp(0.0, 1.0);
        Color::from_rgba(
            unit(colour.red),
            unit(colour.green),
            unit(colour.blue),
            unit(ink.opacity),
        )
        .unwrap_or(Color::TRANSPARENT)
    };
    let flat = Shader::SolidColor(solid(ink.colour));
    let shader = if ink.shine == 0.0 {
        flat
    } else {
        let stops = vec![
            GradientStop::new(0.0, solid(ink.colour.lighter(ink.shine))),
            GradientStop::new(0.45, solid(ink.colour)),
            GradientStop::new(1.0, solid(ink.colour.darker(ink.shine))),
        ];
        RadialGradient::new(
            middle,
            0.0,
            middle,
            radius,
            stops,
            SpreadMode::Pad,
            Transform::identity(),
        )
        .unwrap_or(flat)
    };
    Paint {
        shader,
        anti_alias: true,
        ..Paint::default()
    }
}

fn straight(points: &[Xy], closed: bool) -> Option<Path> {
    let (first, rest) = points.split_first()?;
    let mut builder = PathBuilder::new();
    builder.move_to(first.0, first.1);
    for point in rest {
        builder.line_to(point.0, point.1);
    }
    if closed {
        builder.close();
    }
    builder.finish()
}

/// Creates a Catmull-Rom curve through `points`, as cubic Béziers.
fn smooth(points: &[Xy], closed: bool) -> Option<Path> {
    let count = points.len();
    if count < 3 {
        return straight(points, closed);
    }
    let at = |index: isize| {
        if closed {
            points[index.rem_euclid(count as isize) as usize]
        } else {
            points[index.clamp(0, count as isize - 1) as usize]
        }
    };
    let mut builder = PathBuilder::new();
    builder.move_to(points[0].0, points[0].1);
    let pieces = if closed { count } else { count - 1 };
    for index in 0..pieces as isize {
        let (before, start, end, after) = (at(index - 1), at(index), at(index + 1), at(index + 2));
        builder.cubic_to(
            start.0 + (end.0 - before.0) / 6.0,
            start.1 + (end.1 - before.1) / 6.0,
            end.0 - (after.0 - start.0) / 6.0,
            end.1 - (after.1 - start.1) / 6.0,
            end.0,
            end.1,
        );
    }
    if closed {
        builder.close();
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coverage(canvas: &Canvas) -> f32 {
        canvas
            .pixmap()
            .pixels()
            .iter()
            .map(|pixel| f32::from(pixel.alpha()) / 255.0)
            .sum()
    }

    #[test]
    fn an_ellipse_covers_its_area() {
        let mut canvas = Canvas::new(100);
        canvas.place((50.0, 50.0), 10.0, 1.0, 0.7);
        canvas.ellipse((0.0, 0.0), (4.0, 2.0), 0.3, Ink::flat(Colour::BLACK));
        let expected = std::f32::consts::PI * 40.0 * 20.0;
        let found = coverage(&canvas);
        assert!(
            (found / expected - 1.0).abs() < 0.02,
            "{found} pixels, {expected} expected"
        );
    }

    #[test]
    fn a_line_covers_length_times_width() {
        let mut canvas = Canvas::new(100);
        canvas.place((10.0, 50.0), 1.0, 1.0, 0.0);
        canvas.taper(
            (0.0, 0.0),
            (80.0, 0.0),
            6.0,
            2.0,
            Ink::flat(Colour::BLACK).opacity(0.5),
        );
        let found = coverage(&canvas);
        assert!((found - 160.0).abs() < 4.0, "{found} pixels, 160 expected");
    }

    #[test]
    fn squash_shrinks_the_second_axis() {
        let mut canvas = Canvas::new(100);
        canvas.place((50.0, 50.0), 30.0, 0.5, 0.0);
        canvas.dot((0.0, 0.0), 1.0, Ink::flat(Colour::BLACK));
        let alpha = |x, y| canvas.pixmap().pixel(x, y).map_or(0, |pixel| pixel.alpha());
        assert_eq!((alpha(76, 50), alpha(50, 62), alpha(50, 70)), (255, 255, 0));
    }
}
