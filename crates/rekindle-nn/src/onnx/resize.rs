//! The resize of one direction as a matrix, which nodes compute from a picture's size.

use rekindle_preprocess::Interpolation;

use super::nodes::Writer;
use super::parts::int;
use super::proto::{DOUBLE, FLOAT, INT64};

/// Bits of a weight, and most bits behind its point; as `fast_image_resize` has them, which resizes pictures elsewhere.
const WEIGHT_BITS: i32 = 15;
const MOST_PRECISION: i32 = 21;

/// One direction of a picture.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Down: matrices `[crop, rows]`, multiplied from the left.
    Rows,
    /// Across: matrices `[columns, crop]`, multiplied from the right.
    Columns,
}

impl Direction {
    /// Returns the beginning of the names of what is computed for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rows => "preprocess:rows",
            Self::Columns => "preprocess:columns",
        }
    }
}

/// Extents in one direction, as names of whole numbers.
pub struct Extents {
    /// Of the picture.
    pub picture: String,
    /// Of the whole picture resized.
    pub resized: String,
    /// The crop may be larger than the resized picture, and what is outside of that is filled.
    pub is_padded: bool,
}

/// A direction's matrix, and the pixels that it is for.
pub struct Matrix {
    /// Weights.
    pub weights: String,
    /// The first pixel that has any influence, `[1]`.
    pub first: String,
    /// The pixel behind the last, `[1]`.
    pub end: String,
}

impl Writer<'_> {
    /// Writes the numbers that both directions need.
    pub(super) fn resize_constants(&mut self, crop: usize) {
        let numbers = [
            ("zero", 0.0),
            ("half", 0.5),
            ("one", 1.0),
            ("two", 2.0),
            ("too_large", f64::from(1 << WEIGHT_BITS)),
        ];
        for (name, value) in numbers {
            self.double(name, value);
        }
        self.double("crop", crop as f64);
        let steps: Vec<f64> = (0..crop).map(|step| step as f64).collect();
        self.doubles("steps", &steps);
        let power = |exponent: i32| 2f64.powi(exponent);
        let powers: Vec<f64> = (0..=MOST_PRECISION).map(power).collect();
        self.doubles("powers", &powers);
        let next: Vec<f64> = (1..=MOST_PRECISION + 1).map(power).collect();
        self.doubles("next_powers", &next);
        let last = "preprocess:most_precision".to_string();
        self.constant(
            last,
            INT64,
            Vec::new(),
            i64::from(MOST_PRECISION).to_le_bytes().to_vec(),
        );
    }

    /// Writes which of the resized pixels the crop takes, and how many of the picture's each of them is.
    fn places(&mut self, name: &str, extents: &Extents) -> (String, String) {
        let picture = self.cast(name, "picture", &extents.picture, DOUBLE);
        let resized = self.cast(name, "resized", &extents.resized, DOUBLE);
        let scale = self.step("Div", name, "scale", &[&picture, &resized]);
        let rest = self.step("Sub", name, "rest", &[&resized, "preprocess:crop"]);
        let middle = self.step("Div", name, "middle", &[&rest, "preprocess:two"]);
        // To even, as Python rounds.
        let offset = self.step("Round", name, "offset", &[&middle]);
        let places = self.step("Add", name, "places", &["preprocess:steps", &offset]);
        if !extents.is_padded {
            return (places, scale);
        }
        // What lies outside is computed like the border, and overwritten later.
        let last = self.step("Sub", name, "last", &[&resized, "preprocess:one"]);
        let above = self.step("Max", name, "places_above", &[&places, "preprocess:zero"]);
        let inside = self.step("Min", name, "places_inside", &[&above, &last]);
        self.step("Equal", name, "is_inside", &[&places, &inside]);
        (inside, scale)
    }

    /// Writes where the middles of the crop's pixels lie in the picture, `(place + 0.5) * scale`, and the scale.
    fn centres(&mut self, name: &str, extents: &Extents) -> (String, String) {
        let (places, scale) = self.places(name, extents);
        let middles = self.step("Add", name, "middles", &[&places, "preprocess:half"]);
        let centres = self.step("Mul", name, "centres", &[&middles, &scale]);
        (centres, scale)
    }

    /// Writes the indices of the nearest pixels. Between two pixels rounding decides, so places are reached as
    /// `fast_image_resize` reaches them: across by a product, down in steps.
    pub(super) fn nearest(&mut self, direction: Direction, extents: &Extents) -> String {
        let name = direction.name();
        let (places, scale) = self.places(name, extents);
        let start = self.step("Mul", name, "start", &[&scale, "preprocess:half"]);
        let at = match direction {
            Direction::Columns => {
                let from_start = self.step("Mul", name, "from_start", &[&places, &scale]);
                self.step("Add", name, "at", &[&start, &from_start])
            }
            Direction::Rows => {
                let front = self.integers(format!("{name}:front"), &[0]);
                let first = self.step("Unsqueeze", name, "first_row", &[&start, &front]);
                let extent = self.step("Unsqueeze", name, "rows", &[&extents.resized, &front]);
                let steps = self.step("Expand", name, "row_steps", &[&scale, &extent]);
                let all = format!("{name}:all_steps");
                self.add(
                    "Concat",
                    &all,
                    &[&first, &steps],
                    &all,
                    vec![int("axis", 0)],
                );
                let sums = self.step("CumSum", name, "all_at", &[&all, &front]);
                let places = self.cast(name, "place_indices", &places, INT64);
                self.step("Gather", name, "at", &[&sums, &places])
            }
        };
        let below = self.step("Floor", name, "below", &[&at]);
        self.cast(name, "indices", &below, INT64)
    }

    /// Writes a filter's weights for the pixels of the crop.
    ///
    /// They are computed in `f64` and rounded to as many bits as [`WEIGHT_BITS`] leave, so that they are what the
    /// resize of pictures has elsewhere.
    pub(super) fn filter(
        &mut self,
        direction: Direction,
        extents: &Extents,
        interpolation: Interpolation,
    ) -> Matrix {
        let name = direction.name();
        let (centres, scale) = self.centres(name, extents);
        let wide = self.step("Max", name, "filter_scale", &[&scale, "preprocess:one"]);
        let lobes = self.own_double(name, "lobes", lobes(interpolation));
        let radius = self.step("Mul", name, "radius", &[&wide, &lobes]);
        let [from, to] = self.needed(name, &centres, &radius);
        let pixels = self.step("Range", name, "pixels", &[&from, &to, "preprocess:one"]);
        let pixels = self.step("Add", name, "pixel_middles", &[&pixels, "preprocess:half"]);
        let (own, other) = match direction {
            Direction::Rows => (1, 0),
            Direction::Columns => (0, 1),
        };
        let own = self.integers(format!("{name}:axis"), &[own]);
        let other = self.integers(format!("{name}:other_axis"), &[other]);
        let pixels = self.step("Unsqueeze", name, "pixels_along", &[&pixels, &other]);
        let centres = self.step("Unsqueeze", name, "centres_along", &[&centres, &own]);
        let distances = self.step("Sub", name, "distances", &[&pixels, &centres]);
        let distances = self.step("Div", name, "scaled_distances", &[&distances, &wide]);
        let distances = self.step("Abs", name, "absolute_distances", &[&distances]);
        let heights = match interpolation {
            Interpolation::Nearest | Interpolation::Bilinear => self.triangle(name, &distances),
            Interpolation::Bicubic => self.cubic(name, &distances),
            Interpolation::Lanczos => self.lanczos(name, &distances),
        };
        let sums = self.step("ReduceSum", name, "sums", &[&heights, &own]);
        let weights = self.step("Div", name, "exact_weights", &[&heights, &sums]);
        let weights = self.rounded(name, &weights);
        let weights = self.cast(name, "weights", &weights, FLOAT);
        let zero = self.integers(format!("{name}:front"), &[0]);
        let [first, end] = [("first", from), ("end", to)].map(|(part, place)| {
            let whole = self.cast(name, part, &place, INT64);
            self.step(
                "Unsqueeze",
                name,
                &format!("{part}_index"),
                &[&whole, &zero],
            )
        });
        Matrix {
            weights,
            first,
            end,
        }
    }

    /// Writes the range of pixels that have any influence.
    fn needed(&mut self, name: &str, centres: &str, radius: &str) -> [String; 2] {
        let mut extreme = |operation: &str, part: &str| {
            let output = format!("{name}:{part}");
            let scalar = vec![int("keepdims", 0)];
            self.add(operation, &output, &[centres], &output, scalar);
            output
        };
        let least = extreme("ReduceMin", "least");
        let most = extreme("ReduceMax", "most");
        let from = self.step("Sub", name, "least_reach", &[&least, radius]);
        let from = self.step("Max", name, "from_inside", &[&from, "preprocess:zero"]);
        let from = self.step("Floor", name, "from", &[&from]);
        let to = self.step("Add", name, "most_reach", &[&most, radius]);
        let to = self.step("Ceil", name, "to_whole", &[&to]);
        let picture = format!("{name}:picture");
        let to = self.step("Min", name, "to", &[&to, &picture]);
        [from, to]
    }

    /// Writes `max(1 - x, 0)`.
    fn triangle(&mut self, name: &str, x: &str) -> String {
        let below = self.step("Sub", name, "below_one", &["preprocess:one", x]);
        self.step("Max", name, "triangle", &[&below, "preprocess:zero"])
    }

    /// Writes the cubic filter with a = -0.5: `(1.5 x - 2.5) x² + 1` up to 1, `((2.5 - 0.5 x) x - 4) x + 2` up to 2.
    fn cubic(&mut self, name: &str, x: &str) -> String {
        let [slope, drop, bend, fall] =
            [("slope", 1.5), ("drop", 2.5), ("bend", -0.5), ("fall", 4.0)]
                .map(|(part, value)| self.own_double(name, part, value));
        let near = self.step("Mul", name, "near1", &[x, &slope]);
        let near = self.step("Sub", name, "near2", &[&near, &drop]);
        let near = self.step("Mul", name, "near3", &[&near, x]);
        let near = self.step("Mul", name, "near4", &[&near, x]);
        let near = self.step("Add", name, "near", &[&near, "preprocess:one"]);
        let end = self.step("Min", name, "up_to_two", &[x, "preprocess:two"]);
        let far = self.step("Mul", name, "far1", &[&end, &bend]);
        let far = self.step("Add", name, "far2", &[&far, &drop]);
        let far = self.step("Mul", name, "far3", &[&far, &end]);
        let far = self.step("Sub", name, "far4", &[&far, &fall]);
        let far = self.step("Mul", name, "far5", &[&far, &end]);
        let far = self.step("Add", name, "far", &[&far, "preprocess:two"]);
        let is_near = self.step("Less", name, "is_near", &[x, "preprocess:one"]);
        self.step("Where", name, "cubic", &[&is_near, &near, &far])
    }

    /// Writes `sinc(x) sinc(x / 3)` up to 3.
    fn lanczos(&mut self, name: &str, x: &str) -> String {
        let three = self.own_double(name, "three", 3.0);
        // Where the quotient is 1 to the last bit.
        let least = self.own_double(name, "tiny", 1e-9);
        let pi = self.own_double(name, "pi", std::f64::consts::PI);
        let x = self.step("Max", name, "not_zero", &[x, &least]);
        let x = self.step("Min", name, "up_to_three", &[&x, &three]);
        let whole = self.step("Mul", name, "angle", &[&x, &pi]);
        let third = self.step("Div", name, "third_angle", &[&whole, &three]);
        let [sinc, window] = [("sinc", whole), ("window", third)].map(|(part, angle)| {
            let sine = self.step("Sin", name, &format!("{part}_sine"), &[&angle]);
            self.step("Div", name, part, &[&sine, &angle])
        });
        self.step("Mul", name, "lanczos", &[&sinc, &window])
    }

    /// Writes weights rounded to the largest power of two that leaves all of them below 2^15.
    fn rounded(&mut self, name: &str, weights: &str) -> String {
        let largest = format!("{name}:largest");
        let scalar = vec![int("keepdims", 0)];
        self.add("ReduceMax", &largest, &[weights], &largest, scalar);
        let scaled = self.step(
            "Mul",
            name,
            "largest_scaled",
            &[&largest, "preprocess:next_powers"],
        );
        let scaled = self.step("Add", name, "largest_above", &[&scaled, "preprocess:half"]);
        let scaled = self.step("Floor", name, "largest_whole", &[&scaled]);
        let fits = self.step("Less", name, "fits", &[&scaled, "preprocess:too_large"]);
        let fits = self.cast(name, "fits_one", &fits, INT64);
        let count = format!("{name}:fitting");
        self.add(
            "ReduceSum",
            &count,
            &[&fits],
            &count,
            vec![int("keepdims", 0)],
        );
        let bits = self.step(
            "Min",
            name,
            "precision",
            &[&count, "preprocess:most_precision"],
        );
        let power = self.step("Gather", name, "power", &["preprocess:powers", &bits]);
        let scaled = self.step("Mul", name, "weights_scaled", &[weights, &power]);
        // Halves away from zero, below it too.
        let sizes = self.step("Abs", name, "weight_sizes", &[&scaled]);
        let above = self.step("Add", name, "sizes_above", &[&sizes, "preprocess:half"]);
        let sizes = self.step("Floor", name, "whole_sizes", &[&above]);
        let signs = self.step("Sign", name, "signs", &[&scaled]);
        let whole = self.step("Mul", name, "weights_whole", &[&sizes, &signs]);
        self.step("Div", name, "weights_rounded", &[&whole, &power])
    }

    pub(super) fn cast(&mut self, name: &str, part: &str, x: &str, kind: i32) -> String {
        let output = format!("{name}:{part}");
        let kind = vec![int("to", kind as usize)];
        self.add("Cast", &output, &[x], &output, kind);
        output
    }

    fn double(&mut self, name: &str, value: f64) -> String {
        let name = format!("preprocess:{name}");
        self.constant(name, DOUBLE, Vec::new(), value.to_le_bytes().to_vec())
    }

    fn own_double(&mut self, name: &str, part: &str, value: f64) -> String {
        let name = format!("{name}:{part}");
        self.constant(name, DOUBLE, Vec::new(), value.to_le_bytes().to_vec())
    }

    fn doubles(&mut self, name: &str, values: &[f64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        let extent = vec![values.len() as i64];
        self.constant(
            format!("preprocess:{name}"),
            DOUBLE,
            extent,
            bytes.collect(),
        )
    }
}

/// Half the filter's width at full size.
fn lobes(interpolation: Interpolation) -> f64 {
    match interpolation {
        Interpolation::Nearest | Interpolation::Bilinear => 1.0,
        Interpolation::Bicubic => 2.0,
        Interpolation::Lanczos => 3.0,
    }
}
