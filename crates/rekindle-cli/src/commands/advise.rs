use rekindle::imagefolder::Layout;
use serde_json::json;

use crate::arguments::{Advise, Output};
use crate::console::print;
use crate::failure::{Failure, Outcome};

pub fn run(command: &Advise, output: Output) -> Result<Outcome, Failure> {
    let device = command.device.open()?;
    output.layout(&Layout::find(&command.data)?, "");
    let weights = command.weights.paths(&output)?;
    let mut advise = rekindle::trainer::Advise::new(&device)
        .seed(command.seed)
        .load_options(command.weights.part.options())
        .observer(output.observer());
    if let Some(folder) = &command.cache {
        advise = advise.cache(folder);
    }
    let advice = advise.run(&command.data, &weights)?;
    if output.json {
        print(&json!(advice).to_string());
    } else {
        print(advice.to_string().trim_end());
    }
    Ok(Outcome::Done)
}
