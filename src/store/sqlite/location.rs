//! The place of the database: the meaning of `[store] url`, and the default without one.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::connect::UnusableStore;
use crate::store::{Config, Error};

const SCHEME: &str = "sqlite:";
const FILE_NAME: &str = "opwatch.db";
/// The default folder is for its owner alone, as the XDG specification has it.
const FOLDER_MODE: u32 = 0o700;

/// The database of that configuration; `variable` reads the environment. The default folder is created. A
/// configured folder must exist: a misspelt path would start an empty store.
pub fn location(config: &Config, variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, Error> {
    let (file, our_folder) = named(config, variable)?;
    check_kind(&file)?;
    if let Some(folder) = our_folder {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&folder).map_err(|error| {
            let folder = folder.display();
            Error::Config(format!(
                "cannot create the default folder {folder} ({error}); write \"sqlite:PATH\""
            ))
        })?;
    }
    Ok(file)
}

/// The same without creating anything. A missing folder is refused as at the opening of the store.
pub fn location_to_be(
    config: &Config,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, Error> {
    let (file, our_folder) = named(config, variable)?;
    let is_missing = |folder: &Path| !folder.as_os_str().is_empty() && !folder.is_dir();
    check_kind(&file)?;
    if our_folder.is_none() && file.parent().is_some_and(is_missing) {
        return Err(refused(&file, UnusableStore::NoFolder));
    }
    Ok(file)
}

/// The folder of the database, if it exists and this user cannot create files in it.
pub fn read_only_folder(file: &Path) -> Option<&Path> {
    let folder =
        file.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?;
    let can_write = access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    (folder.is_dir() && !can_write).then_some(folder)
}

/// Opening a FIFO would block, and SQLite has no message for a device.
fn check_kind(file: &Path) -> Result<(), Error> {
    match file.metadata() {
        Ok(metadata) if metadata.is_dir() => Err(refused(file, UnusableStore::Folder)),
        Ok(metadata) if !metadata.is_file() => Err(refused(file, UnusableStore::NotRegular)),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn refused(file: &Path, why: UnusableStore) -> Error {
    Error::Config(format!("cannot open the store {}: {why}", file.display()))
}

/// The path in a URL, or the error of the URL and the fix. Options and other kinds of databases are refused:
/// opwatch would create a file of that name.
pub fn path_of(url: &str) -> Result<&str, &'static str> {
    let Some(path) = url.strip_prefix(SCHEME) else {
        return Err("is not a known kind of store; write sqlite: and a path, such as \"sqlite:opwatch.db\"");
    };
    if path.is_empty() || path.contains(char::is_control) {
        return Err("names no store; write sqlite: and a path, such as \"sqlite:opwatch.db\"");
    }
    // Other programs read `sqlite:///x` as a relative or as an absolute path.
    if path.starts_with("//") {
        return Err(
            "has slashes that mean different things to different programs; write sqlite: and the path alone",
        );
    }
    if path.contains('?') {
        return Err("has options after a question mark; write sqlite: and the path alone");
    }
    if path.split('/').any(|part| part.starts_with(':') || part.starts_with("file:")) {
        return Err(
            "names a special database of SQLite, and opwatch keeps its store in a file; write sqlite: and a path",
        );
    }
    if path.ends_with('/') {
        return Err("names a folder; write sqlite: and the path of a file in it");
    }
    Ok(path)
}

/// The URL of that path.
pub fn url_of(path: &str) -> String {
    format!("{SCHEME}{path}")
}

/// The file, and its folder if opwatch creates that.
type StoreFile = (PathBuf, Option<PathBuf>);

fn named(config: &Config, variable: impl Fn(&str) -> Option<OsString>) -> Result<StoreFile, Error> {
    match &config.url {
        Some(url) => match path_of(url) {
            Ok(path) => Ok((path.into(), None)),
            Err(flaw) => Err(Error::Config(flaw.to_owned())),
        },
        None => default_file(variable),
    }
}

fn default_file(variable: impl Fn(&str) -> Option<OsString>) -> Result<StoreFile, Error> {
    // systemd names several folders with colons between them, and has created them all.
    let state_directory = absolute(&variable, "STATE_DIRECTORY", ":");
    if let Some(folder) = state_directory {
        return Ok((folder.join(FILE_NAME), None));
    }
    let xdg = absolute(&variable, "XDG_STATE_HOME", "\0");
    let home = || absolute(&variable, "HOME", "\0").map(|home| home.join(".local/state"));
    let Some(state) = xdg.or_else(home) else {
        let what = "there is no default, since none of STATE_DIRECTORY, XDG_STATE_HOME and HOME is set; write \"sqlite:PATH\"";
        return Err(Error::Config(what.to_owned()));
    };
    let folder = state.join("opwatch");
    Ok((folder.join(FILE_NAME), Some(folder)))
}

/// The first path in that variable, if it is absolute: the XDG specification ignores others.
fn absolute(variable: impl Fn(&str) -> Option<OsString>, name: &str, separator: &str) -> Option<PathBuf> {
    let value = variable(name)?;
    let first = value.to_str().and_then(|text| text.split(separator).next()).map(PathBuf::from);
    Some(first.unwrap_or_else(|| value.into())).filter(|path| path.is_absolute())
}

/// The file beside the database with this ending added to its name.
pub fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn at(url: Option<&str>, environment: &[(&str, &str)]) -> Result<PathBuf, String> {
        let config = Config { url: url.map(Into::into), ..Config::default() };
        let variable =
            |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        location(&config, variable).map_err(|error| error.to_string())
    }

    #[test]
    fn a_written_path_is_taken_as_it_is() {
        assert_eq!(at(Some("sqlite:/var/lib/my ops.db"), &[]), Ok("/var/lib/my ops.db".into()));
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
        assert_eq!(found, Ok("/var/lib/opwatch/opwatch.db".into()));
    }

    #[test]
    fn the_xdg_folder_is_created_for_its_owner_alone_and_a_relative_one_is_ignored() {
        let home = tempfile::tempdir().unwrap();
        let found = at(None, &[("XDG_STATE_HOME", "state"), ("HOME", home.path().to_str().unwrap())]);
        let folder = home.path().join(".local/state/opwatch");
        assert_eq!(found, Ok(folder.join("opwatch.db")));
        for folder in folder.ancestors().take(3) {
            assert_eq!(
                folder.metadata().unwrap().permissions().mode() & 0o777,
                0o700,
                "{}",
                folder.display()
            );
        }
    }

    #[test]
    fn a_look_creates_nothing_and_refuses_as_an_open_does() {
        let home = tempfile::tempdir().unwrap();
        let look = |url: Option<String>| {
            let config = Config { url, ..Config::default() };
            location_to_be(&config, |name| (name == "HOME").then(|| home.path().into()))
                .map_err(|error| error.to_string())
        };
        assert_eq!(look(None), Ok(home.path().join(".local/state/opwatch/opwatch.db")));
        let refused = [("/missing/x.db", "its folder does not exist"), ("", "it is a folder")];
        for (path, why) in refused {
            let refusal = look(Some(format!("sqlite:{}{path}", home.path().display()))).unwrap_err();
            assert!(refusal.contains(why), "{refusal}");
        }
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
        let device =
            location(&Config { url: Some("sqlite:/dev/null".to_owned()), ..Config::default() }, |_| None);
        assert!(device.unwrap_err().to_string().contains("/dev/null: it is not a regular file"));
        assert!(
            std::process::Command::new("mkfifo").arg(home.path().join("fifo")).status().unwrap().success()
        );
        assert!(
            look(Some(format!("sqlite:{}/fifo", home.path().display())))
                .unwrap_err()
                .contains("not a regular file")
        );
    }

    #[test]
    fn a_url_of_another_kind_is_refused_without_showing_its_password() {
        for (url, flaw) in [
            ("postgres://me:hunter2@db/ops", "is not a known kind of store"),
            ("opwatch.db", "is not a known kind of store"),
            ("sqlite3:opwatch.db", "is not a known kind of store"),
            ("sqlite:", "names no store;"),
            ("sqlite:a\nb", "names no store;"),
            ("sqlite:///var/lib/x.db", "slashes"),
            ("sqlite::memory:", "special database"),
            ("sqlite:/var/lib/:memory:", "special database"),
            ("sqlite:file:x.db", "special database"),
            ("sqlite:/var/lib/file::memory:", "special database"),
            ("sqlite:opwatch.db?mode=ro", "question mark"),
            ("sqlite:/var/lib/x.db?mode=memory&cache=shared", "question mark"),
            ("sqlite:/var/lib/opwatch/", "names a folder"),
        ] {
            let refused = at(Some(url), &[]).unwrap_err();
            assert!(refused.contains(flaw) && refused.contains("sqlite: and "), "{url}: {refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
        assert!(at(None, &[]).unwrap_err().contains("STATE_DIRECTORY"));
    }
}
