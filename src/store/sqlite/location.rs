//! Where the database is: what `[store] url` means, and where it is when nobody wrote one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::problem::Problem;
use crate::store::{Config, Unusable};

/// Where a database is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In that file.
    File(PathBuf),
    /// In memory, until it is closed: for `demo`, and for `wait` without a daemon.
    Memory,
}

const FILE_NAME: &str = "opwatch.db";

/// Where that configuration has its database; `variable` looks into the environment. The default folder is
/// created where it is ours to create; one that somebody wrote must exist, since a misspelt path would begin
/// an empty store.
pub fn location(config: &Config, variable: impl Fn(&str) -> Option<OsString>) -> Result<Location, Problem> {
    let (file, our_folder) = named(config, variable)?;
    if let Some(folder) = our_folder {
        std::fs::create_dir_all(&folder).map_err(|error| {
            problem(
                config,
                format!(
                    "cannot create the default folder {} ({error}); write \"sqlite:PATH\"",
                    folder.display()
                ),
            )
        })?;
    }
    Ok(Location::File(file))
}

/// The same for who only looks: nothing is created, and a written path whose folder is missing is told as it
/// will be when the store is opened.
pub fn location_to_be(
    config: &Config,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Location, Problem> {
    let (file, our_folder) = named(config, variable)?;
    let is_missing = |folder: &Path| !folder.as_os_str().is_empty() && !folder.is_dir();
    let refused =
        |why: Unusable| Err(problem(config, format!("cannot open the store {}: {why}", file.display())));
    if file.is_dir() {
        return refused(Unusable::Folder);
    }
    if our_folder.is_none() && file.parent().is_some_and(is_missing) {
        return refused(Unusable::NoFolder);
    }
    Ok(Location::File(file))
}

/// The file, and its folder where that is ours to create.
type Named = (PathBuf, Option<PathBuf>);

fn named(config: &Config, variable: impl Fn(&str) -> Option<OsString>) -> Result<Named, Problem> {
    let Some(url) = &config.url else { return default_file(config, variable) };
    match url.strip_prefix("sqlite:") {
        Some("") => Err(problem(config, "the path is missing; write \"sqlite:PATH\"")),
        Some(path) => Ok((path.into(), None)),
        None => Err(problem(
            config,
            format!("{} is not a store that opwatch knows; write \"sqlite:PATH\"", scheme(url)),
        )),
    }
}

fn default_file(config: &Config, variable: impl Fn(&str) -> Option<OsString>) -> Result<Named, Problem> {
    // systemd names several folders with colons between them, and has created them all.
    let state_directory = absolute(&variable, "STATE_DIRECTORY", ":");
    if let Some(folder) = state_directory {
        return Ok((folder.join(FILE_NAME), None));
    }
    let xdg = absolute(&variable, "XDG_STATE_HOME", "\0");
    let home = || absolute(&variable, "HOME", "\0").map(|home| home.join(".local/state"));
    let Some(state) = xdg.or_else(home) else {
        return Err(problem(
            config,
            "there is no default, since none of STATE_DIRECTORY, XDG_STATE_HOME and HOME is set; write \"sqlite:PATH\"",
        ));
    };
    let folder = state.join("opwatch");
    Ok((folder.join(FILE_NAME), Some(folder)))
}

/// The first path in that variable, if it is absolute: others are to be ignored, says the XDG specification.
fn absolute(variable: impl Fn(&str) -> Option<OsString>, name: &str, separator: &str) -> Option<PathBuf> {
    let value = variable(name)?;
    let first = value.to_str().and_then(|text| text.split(separator).next()).map(PathBuf::from);
    Some(first.unwrap_or_else(|| value.into())).filter(|path| path.is_absolute())
}

/// The part of a URL that may be shown: what follows can hold a password.
fn scheme(url: &str) -> String {
    match url.split_once(':') {
        Some((scheme, _)) => format!("\"{scheme}:…\""),
        None => "what is written here".into(),
    }
}

fn problem(config: &Config, what: impl Into<String>) -> Problem {
    Problem::new(config.url_place.clone(), what)
}

/// The file beside the database that has this ending added to the whole name.
pub fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: Option<&str>, environment: &[(&str, &str)]) -> Result<Location, String> {
        let config = Config { url: url.map(Into::into), ..Config::default() };
        let variable =
            |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        location(&config, variable).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_written_path_is_taken_as_it_is() {
        assert_eq!(
            at(Some("sqlite:/var/lib/my ops.db"), &[]),
            Ok(Location::File("/var/lib/my ops.db".into()))
        );
    }

    #[test]
    fn the_first_state_directory_goes_before_the_xdg_folder() {
        let found = at(
            None,
            &[
                ("STATE_DIRECTORY", "/var/lib/opwatch:/var/lib/other"),
                ("XDG_STATE_HOME", "/x"),
                ("HOME", "/h"),
            ],
        );
        assert_eq!(found, Ok(Location::File("/var/lib/opwatch/opwatch.db".into())));
    }

    #[test]
    fn the_xdg_folder_is_created_and_a_relative_one_is_ignored() {
        let home = tempfile::tempdir().unwrap();
        let found = at(None, &[("XDG_STATE_HOME", "state"), ("HOME", home.path().to_str().unwrap())]);
        let folder = home.path().join(".local/state/opwatch");
        assert_eq!(found, Ok(Location::File(folder.join("opwatch.db"))));
        assert!(folder.is_dir());
    }

    #[test]
    fn who_only_looks_creates_nothing_and_is_told_what_an_open_would_tell() {
        let home = tempfile::tempdir().unwrap();
        let look = |url: Option<String>| {
            let config = Config { url, ..Config::default() };
            location_to_be(&config, |name| (name == "HOME").then(|| home.path().into()))
                .map_err(|problem| problem.to_string())
        };
        assert_eq!(look(None), Ok(Location::File(home.path().join(".local/state/opwatch/opwatch.db"))));
        assert!(
            look(Some(format!("sqlite:{}/missing/x.db", home.path().display())))
                .unwrap_err()
                .contains("its folder does not exist")
        );
        assert!(
            look(Some(format!("sqlite:{}", home.path().display()))).unwrap_err().contains("it is a folder")
        );
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_not_sqlite_is_refused_without_showing_its_password() {
        let refused = at(Some("postgres://me:hunter2@db/ops"), &[]).unwrap_err();
        assert_eq!(
            refused,
            "store.url: \"postgres:…\" is not a store that opwatch knows; write \"sqlite:PATH\""
        );
        assert!(at(Some("opwatch.db"), &[]).unwrap_err().contains("sqlite:PATH"));
        assert!(at(Some("sqlite:"), &[]).unwrap_err().contains("sqlite:PATH"));
        assert!(at(None, &[]).unwrap_err().contains("STATE_DIRECTORY"));
    }
}
