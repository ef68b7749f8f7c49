//! Tensors of a file as ways of looking at values of a network.
//!
//! Exporters put tokens first or last, split channels into heads, and turn and flatten what they have. All that moves no
//! numbers here: a [`View`] says for each dimension of a tensor which axis of a value it walks along.

/// Axis that a dimension walks along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Axis {
    Batch,
    Channel,
    Row,
    Column,
}

impl Axis {
    pub const ALL: [Self; 4] = [Self::Batch, Self::Channel, Self::Row, Self::Column];

    pub fn index(self) -> usize {
        self as usize
    }
}

/// A number of steps along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Atom {
    pub axis: Axis,
    pub extent: usize,
    pub step: usize,
}

/// A dimension: atoms from the outermost to the innermost, none of one step only.
pub(super) type Dim = Vec<Atom>;

/// A way of looking at a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// Index of the value among those of the network to be.
    pub base: usize,
    pub dims: Vec<Dim>,
    /// Start along each axis.
    pub start: [usize; 4],
}

/// Returns the whole of an axis as a dimension.
pub(super) fn whole(axis: Axis, extent: usize) -> Dim {
    match extent {
        1 => Vec::new(),
        extent => vec![Atom {
            axis,
            extent,
            step: 1,
        }],
    }
}

/// Computes a dimension's length.
pub(super) fn length(dim: &Dim) -> usize {
    dim.iter().map(|atom| atom.extent).product()
}

/// Joins atoms that follow each other along one axis.
pub(super) fn joined(atoms: impl IntoIterator<Item = Atom>) -> Dim {
    let mut dim: Dim = Vec::new();
    for atom in atoms {
        if atom.extent == 1 {
            continue;
        }
        match dim.last_mut() {
            Some(last) if last.axis == atom.axis && last.step == atom.extent * atom.step => {
                last.extent *= atom.extent;
                last.step = atom.step;
            }
            _ => dim.push(atom),
        }
    }
    dim
}

/// Tells whether two views go along the same dimensions, but for those that `b` has no extent along.
pub(super) fn is_beside(a: &View, b: &View, absent: &[Axis]) -> bool {
    let is_absent = |dim: &Vec<Atom>| dim.iter().all(|atom| absent.contains(&atom.axis));
    let mut both = a.dims.iter().zip(&b.dims);
    a.dims.len() == b.dims.len() && both.all(|(a, b)| a == b || (b.is_empty() && is_absent(a)))
}

impl View {
    /// Looks at a value `[batch, channels, height, width]` along the given axes.
    pub fn new(base: usize, extents: [usize; 4], order: &[Axis]) -> Self {
        let dims = order.iter().map(|axis| whole(*axis, extents[axis.index()]));
        Self {
            base,
            dims: dims.collect(),
            start: [0; 4],
        }
    }

    /// Looks in the same way at another value.
    pub fn on(&self, base: usize) -> Self {
        Self {
            base,
            ..self.clone()
        }
    }

    pub fn shape(&self) -> Vec<usize> {
        self.dims.iter().map(length).collect()
    }

    pub fn transposed(&self, order: &[usize]) -> Option<Self> {
        let mut seen = vec![false; self.dims.len()];
        let dims = order.iter().map(|from| {
            let dim = self.dims.get(*from)?.clone();
            (!std::mem::replace(&mut seen[*from], true)).then_some(dim)
        });
        let dims: Vec<Dim> = dims.collect::<Option<_>>()?;
        (dims.len() == self.dims.len()).then(|| Self {
            dims,
            ..self.clone()
        })
    }

    /// Splits and joins dimensions; none where the new shape has another number of elements or cuts across the old.
    pub fn reshaped(&self, shape: &[usize]) -> Option<Self> {
        let mut atoms: Vec<Atom> = self.dims.iter().flatten().copied().rev().collect();
        let mut dims = Vec::with_capacity(shape.len());
        for extent in shape {
            let mut left = *extent;
            let mut dim = Vec::new();
            while left > 1 {
                let atom = atoms.pop()?;
                if left.is_multiple_of(atom.extent) {
                    left /= atom.extent;
                    dim.push(atom);
                } else if atom.extent.is_multiple_of(left) {
                    let inner = atom.extent / left;
                    dim.push(Atom {
                        extent: left,
                        step: atom.step * inner,
                        ..atom
                    });
                    atoms.push(Atom {
                        extent: inner,
                        ..atom
                    });
                    left = 1;
                } else {
                    return None;
                }
            }
            if left != 1 {
                return None;
            }
            dims.push(joined(dim));
        }
        atoms.is_empty().then(|| Self {
            dims,
            ..self.clone()
        })
    }

    /// Takes a range along a dimension; none where it cuts across the atoms.
    pub fn sliced(&self, dim: usize, start: usize, count: usize) -> Option<Self> {
        let atoms = self.dims.get(dim)?;
        let all = length(atoms);
        if count == 0 || start.checked_add(count)? > all {
            return None;
        }
        if count == all {
            return Some(self.clone());
        }
        let mut view = self.clone();
        let (outer, inner) = atoms.split_first()?;
        let inside: usize = inner.iter().map(|atom| atom.extent).product();
        if start.is_multiple_of(inside) && count.is_multiple_of(inside) {
            view.start[outer.axis.index()] += start / inside * outer.step;
            let extent = count / inside;
            let first = (extent > 1).then_some(Atom { extent, ..*outer });
            view.dims[dim] = first.into_iter().chain(inner.iter().copied()).collect();
            return Some(view);
        }
        // A range inside of one step of the outermost.
        if start / inside == (start + count - 1) / inside {
            view.start[outer.axis.index()] += start / inside * outer.step;
            view.dims[dim] = inner.to_vec();
            return view.sliced(dim, start % inside, count);
        }
        None
    }

    /// Lists the atoms along an axis, the longest steps first.
    pub fn along(&self, axis: Axis) -> Vec<Atom> {
        let atoms = self.dims.iter().flatten().filter(|atom| atom.axis == axis);
        let mut atoms: Vec<Atom> = atoms.copied().collect();
        atoms.sort_by_key(|atom| std::cmp::Reverse(atom.step));
        atoms
    }

    /// Computes how many steps in a row are looked at along an axis; none where some are left out in between.
    pub fn run(&self, axis: Axis) -> Option<usize> {
        let mut step = 1;
        for atom in self.along(axis).iter().rev() {
            if atom.step != step {
                return None;
            }
            step *= atom.extent;
        }
        Some(step)
    }

    /// Returns the groups that maps of these extents are shuffled by, where nothing else is done with them.
    pub fn shuffle(&self, extents: [usize; 4]) -> Option<usize> {
        let [batch, channels, rows, columns] = self.dims.as_slice() else {
            return None;
        };
        let along = |axis: Axis| whole(axis, extents[axis.index()]);
        let others =
            [batch, rows, columns] == [Axis::Batch, Axis::Row, Axis::Column].map(along).each_ref();
        match channels.as_slice() {
            [outer, inner] if outer.step == 1 && inner.step == outer.extent => {
                let is_of_channels = channels.iter().all(|atom| atom.axis == Axis::Channel);
                (others && is_of_channels).then_some(inner.extent)
            }
            _ => None,
        }
    }

    /// Tells whether every number of a value of these extents is looked at once.
    pub fn is_whole(&self, extents: [usize; 4]) -> bool {
        let is_all = |axis: Axis| self.run(axis) == Some(extents[axis.index()]);
        self.start == [0; 4] && Axis::ALL.into_iter().all(is_all)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Lists the places that a view looks at, in its own order.
    fn places(view: &View, extents: [usize; 4]) -> Vec<usize> {
        let strides = [
            extents[1] * extents[2] * extents[3],
            extents[2] * extents[3],
            extents[3],
            1,
        ];
        let first: usize = (0..4).map(|axis| view.start[axis] * strides[axis]).sum();
        let mut places = vec![first];
        for atom in view.dims.iter().flatten() {
            let stride = strides[atom.axis.index()] * atom.step;
            let steps = |place: &usize| {
                let place = *place;
                (0..atom.extent).map(move |step| place + step * stride)
            };
            places = places.iter().flat_map(steps).collect();
        }
        places
    }

    #[test]
    fn heads_are_split_off_and_put_together_again() {
        // Queries, keys and values of five tokens, two heads of three numbers.
        let extents = [1, 18, 1, 5];
        let order = [Axis::Batch, Axis::Column, Axis::Channel];
        let tokens = View::new(0, extents, &order);
        let split = tokens.reshaped(&[1, 5, 3, 2, 3]).unwrap();
        let turned = split.transposed(&[2, 0, 3, 1, 4]).unwrap();
        let keys = turned.sliced(0, 1, 1).unwrap();
        assert_eq!(keys.shape(), [1, 1, 2, 5, 3]);
        // As strides of memory say it.
        let expected: Vec<usize> = (0..2)
            .flat_map(|head| {
                (0..5).flat_map(move |token| (0..3).map(move |at| (6 + head * 3 + at) * 5 + token))
            })
            .collect();
        assert_eq!(places(&keys, extents), expected);
        let back = keys.transposed(&[0, 1, 3, 2, 4]).unwrap();
        let back = back.reshaped(&[1, 5, 6]).unwrap();
        assert_eq!(back.run(Axis::Channel), Some(6));
        assert_eq!(back.start[Axis::Channel.index()], 6);
        assert!(!back.is_whole(extents) && tokens.is_whole(extents));
    }

    #[test]
    fn a_shape_that_cuts_across_is_refused() {
        let view = View::new(0, [1, 6, 4, 4], &Axis::ALL);
        assert_eq!(view.reshaped(&[1, 6, 16]).unwrap().shape(), [1, 6, 16]);
        assert!(view.reshaped(&[1, 6, 15]).is_none());
        assert!(view.reshaped(&[1, 4, 24]).is_none());
        assert!(view.reshaped(&[1, 6, 4, 4, 0]).is_none());
        assert!(view.sliced(1, 4, 3).is_none() && view.sliced(4, 0, 1).is_none());
        assert!(view.transposed(&[0, 0, 1, 2]).is_none());
        let flat = view.reshaped(&[96]).unwrap();
        assert_eq!(
            places(&flat.sliced(0, 17, 3).unwrap(), [1, 6, 4, 4]),
            [17, 18, 19]
        );
        assert!(flat.sliced(0, 15, 3).is_none());
    }
}
