//! Opens a model with the options of a command that asks it.

use rekindle::imagefolder::Task;
use rekindle::trainer::{Interrupt, Model, TestViews};

use crate::arguments::{Asked, Views, ViewsOrFile};
use crate::failure::Failure;

impl Asked {
    /// Sets the views, the calibration and Ctrl-C of `model`.
    pub fn of(self, model: Model, interrupt: &Interrupt) -> Result<Model, Failure> {
        let views = match self.views {
            ViewsOrFile::Plain => TestViews::Plain,
            ViewsOrFile::Flip => TestViews::Flip,
            ViewsOrFile::FlipAndScale => TestViews::FlipAndScale,
            ViewsOrFile::File => model.file_views()?,
        };
        if self.calibrated && views != TestViews::Plain {
            return Err(Failure::Usage(format!(
                "--calibrated doesn't go with --views {views}: the temperature in the file was fitted on plain views; \
                 leave one of them out"
            )));
        }
        if let Some(coverage) = self.coverage {
            if views != TestViews::Plain {
                return Err(Failure::Usage(format!(
                    "--coverage doesn't go with --views {views}: the scores in the file are those of plain views; leave one \
                     of them out"
                )));
            }
            // Nothing is computed for a promise that can't be kept.
            match model.task {
                Task::SingleLabel | Task::Ordinal => {
                    model.conformal()?.least_probability(coverage).map(drop)?;
                }
                Task::Regression => {
                    model
                        .conformal_residuals()?
                        .half_width(coverage)
                        .map(drop)?;
                }
                Task::MultiLabel => {
                    return Err(Failure::Usage(
                        "--coverage is for one class or one number per picture, and the model is for several labels; \
                         leave it out"
                            .into(),
                    ));
                }
            }
        }
        if self.reject.is_some() {
            if views != TestViews::Plain {
                return Err(Failure::Usage(format!(
                    "--reject doesn't go with --views {views}: the scores in the file are those of plain views; leave one of \
                     them out"
                )));
            }
            if !model.task.is_single_label() {
                return Err(Failure::Usage(format!(
                    "--reject is for one class per picture, and the model is for {}; leave it out",
                    model.task
                )));
            }
        }
        let model = model.in_views(views).interrupt(interrupt.clone());
        let model = match self.reject {
            Some(share) => model.rejecting(share)?,
            None => model,
        };
        Ok(match self.calibrated {
            true => model.calibrated()?,
            false => model,
        })
    }
}

impl From<Views> for TestViews {
    fn from(views: Views) -> Self {
        match views {
            Views::Plain => TestViews::Plain,
            Views::Flip => TestViews::Flip,
            Views::FlipAndScale => TestViews::FlipAndScale,
        }
    }
}
