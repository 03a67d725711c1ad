//! Works a camera's controls in the emulated board, where the test driver's faults are switched by them:
//! `board_control NODE NAME [NUMBER]`; without a number, the control is a button.

use std::process::ExitCode;

use v4l::control::{Control, Value};

fn set(node: &str, name: &str, number: Option<&str>) -> Result<(), String> {
    let device = v4l::Device::with_path(node).map_err(|error| format!("{node}: {error}"))?;
    let controls = device.query_controls().map_err(|error| format!("{node}: its controls: {error}"))?;
    let control = controls.iter().find(|control| control.name == name);
    let id = control.ok_or_else(|| format!("{node}: no control '{name}'"))?.id;
    let value = match number {
        Some(number) => Value::Integer(number.parse().map_err(|_| format!("'{number}' is no number"))?),
        None => Value::None,
    };
    device.set_control(Control { id, value }).map_err(|error| format!("{node}: {name}: {error}"))
}

#[expect(clippy::print_stderr, reason = "a program of the tests")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [node, name] => set(node, name, None),
        [node, name, number] => set(node, name, Some(number)),
        _ => Err("board_control NODE NAME [NUMBER]".into()),
    };
    if let Err(error) = result {
        eprintln!("board_control: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
