//! Events as lines of a file, or of standard output.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The keys of `type = "file"`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Where the lines go; `-` is standard output.
    pub path: PathBuf,
}
