//! The power management chip of a Raspberry Pi 5, read through the firmware's mailbox as `vcgencmd pmic_read_adc` does.

use std::io;
use std::sync::Arc;

use tinysaver_core::energy::Domain;

use super::pmic_sys::DeviceMailbox;
use super::sensor::{PowerError, PowerSensor, Reader, Sensors};
use super::tree::SysTree;

const DEVICES: [&str; 2] = ["dev/vcio_gencmd", "dev/vcio"];
const MODEL: &str = "proc/device-tree/model";
/// The mailbox's tag for a command in words.
const GET_GENCMD_RESULT: u32 = 0x0003_0080;
/// Bytes for the command and its reply.
const TEXT_BYTES: usize = 4096;
const HEADER_WORDS: usize = 6;
const SUCCESS: u32 = 0x8000_0000;

/// Asks the firmware.
pub(super) trait Mailbox: Send {
    /// Sends a message and has it replaced by the reply.
    fn exchange(&mut self, message: &mut [u32]) -> io::Result<()>;
}

/// The chip.
pub(super) struct Pmic {
    mailbox: Box<dyn Mailbox>,
}

impl Pmic {
    pub(super) fn new(mailbox: Box<dyn Mailbox>) -> Self {
        Self { mailbox }
    }

    /// The sum over all rails with a voltage and a current.
    pub(super) fn read(&mut self) -> Result<f64, PowerError> {
        let mut message = encode("pmic_read_adc");
        self.mailbox.exchange(&mut message).map_err(|error| PowerError::Mailbox(error.to_string()))?;
        let reply = decode(&message).map_err(PowerError::Mailbox)?;
        sum_of_rails(&reply).map_err(PowerError::Mailbox)
    }
}

/// Only a Pi 5 has the chip; on others the command would be refused.
pub(super) fn find(tree: &Arc<dyn SysTree>, found: &mut Sensors) {
    if !tree.read(MODEL).is_ok_and(|model| model.starts_with("Raspberry Pi 5") || model.contains("Compute Module 5")) {
        return;
    }
    let mut errors = Vec::new();
    for device in DEVICES {
        let path = tree.real_path(device);
        match DeviceMailbox::open(&path) {
            Ok(mailbox) => {
                let reader = Reader::Pmic(Pmic::new(Box::new(mailbox)));
                let note = "without USB, 5 V loads and conversion losses".to_owned();
                found.sensors.push(PowerSensor::new("pmic", Domain::Rails, tree, reader).with_note(Some(note)));
                return;
            }
            Err(error) => errors.push(format!("{}: {error}", path.display())),
        }
    }
    found.problems.push(format!("pmic: {}; is this user in the group 'video'?", errors.join(", ")));
}

/// A command as the mailbox wants it: size, request, tag, size of the text, two words for the reply, text, end.
fn encode(command: &str) -> Vec<u32> {
    let words = HEADER_WORDS + TEXT_BYTES / 4 + 1;
    let mut message = vec![0; words];
    let header = [words * 4, 0, GET_GENCMD_RESULT as usize, TEXT_BYTES, 0, 0];
    for (word, value) in message.iter_mut().zip(header) {
        *word = u32::try_from(value).unwrap_or(0);
    }
    for (word, letters) in message.iter_mut().skip(HEADER_WORDS).zip(command.as_bytes().chunks(4)) {
        let mut bytes = [0; 4];
        bytes.iter_mut().zip(letters).for_each(|(byte, letter)| *byte = *letter);
        *word = u32::from_ne_bytes(bytes);
    }
    message
}

/// The reply's text, or what is wrong with it.
fn decode(message: &[u32]) -> Result<String, String> {
    let at = |index: usize| message.get(index).copied().unwrap_or(0);
    if at(1) != SUCCESS {
        return Err(format!("no reply (state {:#x})", at(1)));
    }
    let bytes = message.iter().skip(HEADER_WORDS).flat_map(|word| word.to_ne_bytes()).take(TEXT_BYTES);
    let bytes: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if at(5) != 0 || text.starts_with("error=") {
        return Err(format!("error {}: {}", at(5), text.trim()));
    }
    Ok(text)
}

/// Lines such as `VDD_CORE_A current(7)=1.116A` and `VDD_CORE_V volt(15)=0.749V`: watts of every rail that has both.
fn sum_of_rails(reply: &str) -> Result<f64, String> {
    let readings = reply.lines().filter_map(|line| {
        let (name, rest) = line.trim().split_once(' ')?;
        let value = rest.split_once('=')?.1.trim_end_matches(['A', 'V']).parse::<f64>().ok()?;
        Some((name, value))
    });
    let readings: Vec<(&str, f64)> = readings.filter(|(_, value)| value.is_finite()).collect();
    let volts = |rail: &str| {
        let mut volts = readings.iter().filter_map(|(name, value)| Some((name.strip_suffix("_V")?, *value)));
        volts.find_map(|(name, value)| (name == rail).then_some(value))
    };
    let amperes = readings.iter().filter_map(|(name, value)| Some((name.strip_suffix("_A")?, *value)));
    let watts: Vec<f64> = amperes.filter_map(|(rail, amperes)| Some(amperes * volts(rail)?)).collect();
    if watts.is_empty() {
        return Err(format!("no rail in '{}'", reply.trim().chars().take(60).collect::<String>()));
    }
    Ok(watts.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the form of a reply on a Pi 5; the sum of its rails is worked out below.
    const REPLY: &str = include_str!("trees/pi5-pmic.txt");

    struct Recorded {
        reply: Result<&'static str, i32>,
        state: u32,
        error: u32,
    }

    impl Mailbox for Recorded {
        fn exchange(&mut self, message: &mut [u32]) -> io::Result<()> {
            assert_eq!(message[0] as usize, message.len() * 4, "size in bytes");
            assert_eq!((message[1], message[2], message[3]), (0, 0x30080, 4096));
            let question: Vec<u8> = message[6..].iter().flat_map(|word| word.to_ne_bytes()).take(14).collect();
            assert_eq!(&question, b"pmic_read_adc\0");
            let reply = self.reply.map_err(io::Error::from_raw_os_error)?;
            let answer = encode(reply);
            message[6..].copy_from_slice(&answer[6..]);
            (message[1], message[5]) = (self.state, self.error);
            Ok(())
        }
    }

    fn read(reply: Result<&'static str, i32>, state: u32, error: u32) -> Result<f64, String> {
        Pmic::new(Box::new(Recorded { reply, state, error })).read().map_err(|error| error.to_string())
    }

    #[test]
    fn watts_are_the_sum_of_rails_with_voltage_and_current() {
        let watts = read(Ok(REPLY), SUCCESS, 0).unwrap();
        // EXT5V_V and BATT_V have no current and do not count.
        assert!((watts - 2.2718).abs() < 0.0005, "{watts}");
    }

    #[test]
    fn replies_that_are_none_are_errors() {
        assert!(read(Ok(""), SUCCESS, 0).unwrap_err().contains("no rail"));
        assert!(read(Ok("VDD_CORE_V volt(15)=0.74V\n"), SUCCESS, 0).unwrap_err().contains("no rail"));
        assert!(read(Ok("X_A current(1)=nanA\nX_V volt(2)=1V"), SUCCESS, 0).unwrap_err().contains("no rail"));
        assert!(read(Ok(REPLY), 0, 0).unwrap_err().contains("no reply"));
        assert!(read(Ok(REPLY), SUCCESS, 1).unwrap_err().contains("error 1"));
        let refused = "error=1 error_msg=\"Command not registered\"";
        assert!(read(Ok(refused), SUCCESS, 0).unwrap_err().contains("not registered"));
        assert!(read(Err(1), SUCCESS, 0).unwrap_err().contains("not permitted"));
    }
}
