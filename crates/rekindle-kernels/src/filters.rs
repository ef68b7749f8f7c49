//! Filters on their way from the caller's order into lanes, and gradients on their way back.

use crate::dispatch::Kernels;
use crate::isa::Isa;
use crate::line::{LANES, Line};
use crate::params::Conv2dParams;
use crate::transpose::Columns;
use std::ops::Range;

/// Taps up to which sixteen by sixteen filters are exchanged in registers.
const MOST_TAPS: usize = 9;

/// Filters somewhere in a slice, by group, output channel and input channel within the group.
#[derive(Clone, Copy)]
pub(crate) struct Filters<'a> {
    values: &'a [f32],
    group_stride: usize,
    out_stride: usize,
    in_stride: usize,
    /// Index within a filter of each tap.
    taps: &'a [usize],
}

/// A convolution by filters in whatever order, with what is folded into them.
#[derive(Clone, Copy)]
pub(crate) struct Layer<'a> {
    pub isa: Isa,
    pub params: &'a Conv2dParams,
    pub filters: Filters<'a>,
    pub scale_shift: Option<(&'a [f32], &'a [f32])>,
}

/// Filters of one group whose output channels lie in one block, and where they are packed.
pub(crate) struct Run {
    pub group: usize,
    /// Output and input channels within the group.
    pub outputs: Range<usize>,
    pub inputs: Range<usize>,
    /// First output channel of all, and its lane.
    pub channel: usize,
    pub lane: usize,
    /// Line of the first input channel, and lines from one to the next.
    pub line: usize,
    pub per_input: usize,
}

impl<'a> Filters<'a> {
    /// `values` as `[out, in / groups, taps]`.
    pub fn new(params: &Conv2dParams, values: &'a [f32], taps: &'a [usize]) -> Self {
        let [o, i, kh, kw] = params.weight_shape();
        Self {
            values,
            group_stride: o / params.groups * i * kh * kw,
            out_stride: i * kh * kw,
            in_stride: kh * kw,
            taps,
        }
    }

    /// Returns the same values for a convolution that goes the other way, from output to input channels.
    pub fn swapped(params: &Conv2dParams, values: &'a [f32], taps: &'a [usize]) -> Self {
        let own = Self::new(params, values, taps);
        Self {
            out_stride: own.in_stride,
            in_stride: own.out_stride,
            ..own
        }
    }

    /// Returns the same values in one group, each value of a filter as an input channel of its own; all taps must be
    /// there, in order.
    pub fn flattened(&self) -> Self {
        Self {
            in_stride: 1,
            taps: &[0],
            ..*self
        }
    }

    /// Returns the `tap`-th tap of the only filter of a channel, where each is a group of its own.
    pub fn of_channel(&self, channel: usize, tap: usize) -> f32 {
        self.values[channel * self.group_stride + self.taps[tap]]
    }

    /// Writes the filters of `run`, output channels in the lanes: the k-th tap of its first input goes to line
    /// `run.line + places[k]`. Each is multiplied by its output channel's `scale`.
    pub fn gather(
        &self,
        kernels: &Kernels,
        run: &Run,
        places: &[usize],
        scale: Option<&[f32]>,
        lines: &mut [Line],
    ) {
        let size = self.out_stride.min(self.in_stride);
        let is_swapped = self.out_stride < self.in_stride;
        let has_all = self.taps.len() == size;
        if !run.is_whole() || size > MOST_TAPS || !(is_swapped || has_all) {
            return self.gather_one_by_one(run, places, scale, lines);
        }
        let scale = scale.map(|scale| &scale[run.channel..][..LANES]);
        if is_swapped {
            self.gather_swapped(kernels, run, places, scale, lines);
        } else {
            let mut place_of = [0; MOST_TAPS];
            for (&place, &tap) in places.iter().zip(self.taps) {
                place_of[tap] = place;
            }
            let columns = Square::new(&place_of[..size], run.line, run.per_input);
            let from = &self.values[self.first(run)..];
            columns.gather(kernels, from, self.out_stride, scale, lines);
        }
    }

    /// Input channels lie far apart, and their filters next to each other: sixteen inputs are exchanged with their taps,
    /// then each tap's inputs with its outputs.
    fn gather_swapped(
        &self,
        kernels: &Kernels,
        run: &Run,
        places: &[usize],
        scale: Option<&[f32]>,
        lines: &mut [Line],
    ) {
        let size = self.out_stride;
        let identity: [usize; MOST_TAPS] = std::array::from_fn(|tap| tap);
        let mut exchanged = [Line::ZERO; LANES * MOST_TAPS];
        let from = &self.values[self.first(run)..];
        Square::new(&identity[..size], 0, size).gather(
            kernels,
            from,
            self.in_stride,
            None,
            &mut exchanged,
        );
        for (&place, &tap) in places.iter().zip(self.taps) {
            let from = Line::values(&exchanged[tap..]);
            let columns = Square::new(&[place], run.line, run.per_input);
            columns.gather(kernels, from, size * LANES, scale, lines);
        }
    }

    fn gather_one_by_one(
        &self,
        run: &Run,
        places: &[usize],
        scale: Option<&[f32]>,
        lines: &mut [Line],
    ) {
        let first = self.first(run);
        for o in 0..run.outputs.len() {
            let (lane, scale) = (
                run.lane + o,
                scale.map_or(1.0, |scale| scale[run.channel + o]),
            );
            for i in 0..run.inputs.len() {
                let filter = &self.values[first + o * self.out_stride + i * self.in_stride..];
                let lines = &mut lines[run.line + i * run.per_input..];
                for (&place, &tap) in places.iter().zip(self.taps) {
                    lines[place].0[lane] = scale * filter[tap];
                }
            }
        }
    }

    /// Returns the first value of the run's filters.
    fn first(&self, run: &Run) -> usize {
        run.group * self.group_stride
            + run.outputs.start * self.out_stride
            + run.inputs.start * self.in_stride
    }
}

impl Run {
    /// Sixteen by sixteen filters.
    fn is_whole(&self) -> bool {
        self.lane == 0 && self.outputs.len() == LANES && self.inputs.len() == LANES
    }

    /// The other way, from `lines` to `[output channel, in_channels, tap]` from the run's first filter on.
    pub fn scatter(
        &self,
        kernels: &Kernels,
        lines: &[Line],
        places: &[usize],
        out: &mut [f32],
        in_channels: usize,
    ) {
        let size = places.len();
        if self.is_whole() && size <= MOST_TAPS {
            let columns = Square::new(places, self.line, self.per_input);
            return columns.scatter(kernels, lines, out, in_channels * size);
        }
        for o in 0..self.outputs.len() {
            for i in 0..self.inputs.len() {
                let filter = &mut out[(o * in_channels + i) * size..][..size];
                let lines = &lines[self.line + i * self.per_input..];
                for (value, &place) in filter.iter_mut().zip(places) {
                    *value = lines[place].0[self.lane + o];
                }
            }
        }
    }
}

/// The lines of sixteen inputs' taps.
struct Square {
    places: [usize; LANES * MOST_TAPS],
    size: usize,
}

impl Square {
    fn new(place_of_tap: &[usize], line: usize, per_input: usize) -> Self {
        let size = place_of_tap.len();
        let mut places = [0; LANES * MOST_TAPS];
        for (i, places) in places.chunks_exact_mut(size).take(LANES).enumerate() {
            for (place, of_tap) in places.iter_mut().zip(place_of_tap) {
                *place = line + i * per_input + of_tap;
            }
        }
        Self { places, size }
    }

    fn places(&self) -> &[usize] {
        &self.places[..LANES * self.size]
    }

    fn last(&self) -> usize {
        self.places().iter().max().copied().unwrap_or(0)
    }

    /// `rows` has sixteen rows, `stride` values apart.
    fn gather(
        &self,
        kernels: &Kernels,
        rows: &[f32],
        stride: usize,
        scale: Option<&[f32]>,
        lines: &mut [Line],
    ) {
        assert!(self.last() < lines.len() && self.reach(stride) <= rows.len());
        let columns = Columns {
            rows: rows.as_ptr().cast_mut(),
            row_stride: stride,
            lines: lines.as_mut_ptr().cast(),
            places: self.places(),
            scale: scale.map_or(std::ptr::null(), <[f32]>::as_ptr),
            ahead: self.places().len(),
        };
        // SAFETY: rows and lines reach as far as was asserted, and rows are only read.
        unsafe { (kernels.rows_to_lines)(&columns) };
    }

    fn scatter(&self, kernels: &Kernels, lines: &[Line], rows: &mut [f32], stride: usize) {
        assert!(self.last() < lines.len() && self.reach(stride) <= rows.len());
        let columns = Columns {
            rows: rows.as_mut_ptr(),
            row_stride: stride,
            lines: lines.as_ptr().cast_mut().cast(),
            places: self.places(),
            scale: std::ptr::null(),
            ahead: 0,
        };
        // SAFETY: rows and lines reach as far as was asserted, and lines are only read.
        unsafe { (kernels.lines_to_rows)(&columns) };
    }

    /// Values from the first row's first to the last row's last.
    fn reach(&self, stride: usize) -> usize {
        (LANES - 1) * stride + self.places().len()
    }
}
