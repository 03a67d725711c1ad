//! A run's budget of energy: its settings, the controller at work, and what is said of it.

mod prices;
mod settings;
mod spender;
mod text;

pub use prices::{LocalBase, PriceArgs, PriceFile, route_prices};
pub use settings::{BudgetArgs, BudgetFile, BudgetSettings};
pub use spender::{Decided, Spender};
pub use text::{budget_lines, opening_line};
