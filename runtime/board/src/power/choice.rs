//! Which sensor a run is booked by.

use std::sync::Arc;

use tinysaver_core::energy::Domain;

use super::external::{CommandMeter, FileMeter};
use super::sensor::{PowerSensor, Reader, Sensors, find_sensors};
use super::tree::SysTree;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SensorChoice {
    /// The one that sees most of the board, if there is any that is sure to see the board.
    Auto,
    /// None.
    None,
    /// By its name.
    Named(String),
    /// A file that something else writes.
    File(std::path::PathBuf),
    /// A program that prints watts.
    Command(String),
}

impl std::str::FromStr for SensorChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Self::File(path.into()),
            Some(("command", command)) if !command.trim().is_empty() => Self::Command(command.to_owned()),
            Some(("file" | "command", _)) => return Err(format!("'{text}': a path or a command is missing")),
            _ if text == "auto" => Self::Auto,
            _ if text == "none" => Self::None,
            _ if text.is_empty() => return Err("a sensor's name is missing; `tinysaver power` lists them".to_owned()),
            _ => Self::Named(text.to_owned()),
        })
    }
}

/// Sensors that may be chosen unasked: they see the board or most of it. A chip on a hat sees what somebody wired.
const UNASKED: [Domain; 4] = [Domain::BoardInput, Domain::Module, Domain::Rails, Domain::Package];

/// Finds the sensor.
///
/// # Errors
/// One that was asked for is not there, in words for people.
pub fn choose_sensor(choice: &SensorChoice, tree: &Arc<dyn SysTree>) -> Result<Option<PowerSensor>, String> {
    match choice {
        SensorChoice::None => Ok(None),
        SensorChoice::Auto => {
            let sensors = find_sensors(tree).sensors;
            Ok(sensors.into_iter().find(|sensor| UNASKED.contains(&sensor.domain())))
        }
        SensorChoice::Named(name) => named(name, find_sensors(tree)).map(Some),
        SensorChoice::File(path) => {
            let reader = Reader::File(FileMeter { path: path.clone() });
            let sensor = PowerSensor::new(&format!("file {}", path.display()), Domain::Outside, tree, reader);
            Ok(Some(sensor))
        }
        SensorChoice::Command(command) => {
            let meter = CommandMeter::start(command).map_err(|error| format!("`{command}`: {error}"))?;
            let name = format!("command {}", command.split_whitespace().next().unwrap_or_default());
            Ok(Some(PowerSensor::new(&name, Domain::Outside, tree, Reader::Command(meter))))
        }
    }
}

fn named(name: &str, found: Sensors) -> Result<PowerSensor, String> {
    let names: Vec<String> = found.sensors.iter().map(|sensor| format!("'{}'", sensor.name())).collect();
    let sensor = found.sensors.into_iter().find(|sensor| sensor.name() == name);
    sensor.ok_or_else(|| {
        let there =
            if names.is_empty() { "there is none".to_owned() } else { format!("there are {}", names.join(", ")) };
        let problems = found.problems.iter().map(|problem| format!("; {problem}")).collect::<String>();
        format!("no power sensor '{name}': {there}{problems}; or file:PATH, command:PROGRAM, none")
    })
}
