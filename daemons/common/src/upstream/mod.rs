//! uber/kraken's configuration.

pub mod document;
pub mod limits;
pub mod problem;
pub mod schema;

mod check;
mod checking;
mod docs;
mod load;
mod settings;
mod values;

pub use check::effective_yaml;
pub use checking::check_document;
pub use docs::tables_markdown;
pub use document::Document;
pub use load::Load;
pub use problem::{Place, Problem, Problems, Severity};
pub use schema::{RoleName, Status};
pub use settings::{FileRead, HostSource, Hosts, Origin, Section, Setting, Settings};
pub use values::Cidr;
