//! Finds the network in a file, whatever else a training program saved beside it.

mod choose;
mod family;
mod found;
mod head;
mod options;
mod parting;
mod source;
mod take;

use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::error::{Candidate, printable};

pub use family::{Expected, Family, HeadNames, Layout, Proposal, Shapes};
pub use options::LoadOptions;
pub use source::{LeftOut, NetworkSource};
pub use take::Network;

use choose::{advice, choose};
use found::{Found, drop_twins};

impl Checkpoint {
    /// Finds a network of one of the families among the tensors: the set of names under one common prefix whose names
    /// and shapes are those that a family proposes.
    ///
    /// Whatever lies beside it is left out and listed in [`NetworkSource`]. Where several networks fit and a public
    /// convention says which is meant, that one is taken: the query encoder of MoCo, the teacher of DINO, and the moving
    /// average that timm and torchvision keep as `state_dict_ema` and `model_ema`. Where several descriptions fit the
    /// same tensors, the one that the metadata call `architecture` is taken, or else the first proposal of the first
    /// family.
    ///
    /// # Errors
    ///
    /// [`Error::AmbiguousNetwork`] where several fit; [`Error::NoSuchNetwork`] where `options` name none of them;
    /// [`Error::Mismatch`] for what is nearly a network, and [`Error::UnknownNetwork`] for what is none; and
    /// [`Error::ForeignCode`] where the network is part of an object of an unknown Python class.
    pub fn network<C>(
        &self,
        families: &[&dyn Family<Config = C>],
        options: &LoadOptions,
    ) -> Result<Network<C>, Error> {
        let (mut fits, nearest) = Found::all(self, families, options);
        let foreign = fits.iter().find_map(|found| found.inside(self));
        fits.retain(|found| found.inside(self).is_none());
        drop_twins(self, &mut fits);
        let known: Vec<Candidate> = fits.iter().map(Found::candidate).collect();
        fits.retain(|found| options.admits(&found.prefix));
        let choice = match fits.len() {
            1 => String::new(),
            0 if !options.is_default() && !known.is_empty() => {
                return Err(Error::NoSuchNetwork {
                    path: self.path.clone(),
                    asked: options.flags(),
                    candidates: known,
                });
            }
            0 => return Err(self.nothing_fits(nearest, foreign, families)),
            _ => choose(&mut fits),
        };
        match fits.len() {
            1 => Ok(take::take(self, fits.remove(0), choice)),
            _ => Err(Error::AmbiguousNetwork {
                path: self.path.clone(),
                candidates: fits.iter().map(Found::candidate).collect(),
                advice: advice(&fits),
            }),
        }
    }

    fn nothing_fits<C>(
        &self,
        nearest: Option<Found<C>>,
        foreign: Option<String>,
        families: &[&dyn Family<Config = C>],
    ) -> Error {
        if let Some(global) = foreign {
            return Error::ForeignCode {
                path: self.path.clone(),
                global,
            };
        }
        if let Some(found) = nearest {
            return Error::Mismatch(Box::new(found.compare(self)));
        }
        let names: Vec<&str> = families.iter().map(|family| family.name()).collect();
        let names = match names.split_last() {
            Some((last, others)) if !others.is_empty() => {
                format!("{} or {last}", others.join(", "))
            }
            _ => names.concat(),
        };
        let signatures: Vec<String> = families.iter().map(|family| family.signature()).collect();
        let first = self.tensors.keys().take(4);
        Error::UnknownNetwork {
            path: self.path.clone(),
            tensors: self.tensors.len(),
            sought: format!(
                "{names}: under no prefix are there {}",
                signatures.join(" or ")
            ),
            first: first.map(|name| printable(name)).collect(),
            foreign: self.foreign.first().map(|name| printable(name)),
        }
    }
}
