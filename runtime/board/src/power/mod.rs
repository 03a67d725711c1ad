//! What the board tells of its power, temperature and clock.
//!
//! Everything is found below a filesystem root, through [`SysTree`], so that trees of boards can be tested anywhere. A
//! sensor says what it sees ([`Domain`](tinysaver_core::energy::Domain)): a rail is not the board. Sensors are never added
//! to each other; where no value can be had, there is none.

mod battery;
mod choice;
mod external;
mod health;
mod hwmon;
mod ina3221;
mod load;
mod pmic;
mod pmic_sys;
mod rapl;
mod sampler;
mod sensor;
mod supply;
mod tree;

pub use battery::{Battery, LOW_PERCENT};
pub use choice::{SensorChoice, choose_sensor};
pub use health::{Clock, Health, Temperature, read_health};
pub use load::CpuLoad;
pub use sampler::{PowerSampler, SamplerStatus};
pub use sensor::{PowerError, PowerSensor, Sensors, find_sensors};
pub use tree::{RealTree, SysTree};
