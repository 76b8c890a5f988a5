use std::io::{BufRead, Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::channel;

use super::*;

const LARGEST_BYTES: u64 = 1024 * 1024;
const BRIEF: Duration = Duration::from_millis(50);

/// Files that are not regular, each with the name of its kind; links to them too.
pub(crate) fn irregular(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let fifo = folder.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let socket = folder.join("socket");
    drop(UnixListener::bind(&socket).unwrap());
    let inner = folder.join("folder");
    fs::create_dir(&inner).unwrap();
    let targets =
        [(fifo, "FIFO"), (socket, "socket"), (inner, "folder"), (PathBuf::from("/dev/zero"), "device")];
    let link = |(path, kind): &(PathBuf, &'static str)| {
        let link = folder.join(format!("link to a {kind}"));
        symlink(path, &link).unwrap();
        (link, *kind)
    };
    let links: Vec<_> = targets.iter().map(link).collect();
    targets.into_iter().chain(links).collect()
}

#[test]
fn what_is_no_regular_file_is_refused_by_its_kind_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for (path, kind) in irregular(folder.path()) {
        let reported = read(&path, LARGEST_BYTES).map(drop).unwrap_err().at(&path);
        let wanted = format!(
            "cannot read {} (it is a {kind}, and only a regular file is read); name a regular file",
            path.display()
        );
        assert_eq!(reported, wanted);
    }
}

#[test]
fn a_link_to_a_file_is_followed_and_a_missing_file_is_reported_as_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    symlink(&file, &link).unwrap();
    assert!(read(&link, LARGEST_BYTES).map(drop).unwrap_err().is_missing());
    fs::write(&file, "text").unwrap();
    assert_eq!(read(&link, LARGEST_BYTES).unwrap().bytes, b"text");
}

#[test]
fn a_file_is_read_whole_up_to_its_bound_and_refused_beyond() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let text: Vec<u8> = (0..LARGEST_BYTES).map(|byte| u8::try_from(byte % 251).unwrap()).collect();
    fs::write(&path, &text).unwrap();
    assert_eq!(read(&path, LARGEST_BYTES).unwrap().bytes, text);
    let mut streamed = Vec::new();
    Stream::open(&path, LARGEST_BYTES).unwrap().read_to_end(&mut streamed).unwrap();
    assert_eq!(streamed, text);
    let error = read(&path, LARGEST_BYTES - 1).map(drop).unwrap_err();
    assert_eq!(error.at(Path::new("f")), "cannot read f (it is larger than 1023 KiB); name another file");
}

/// A file that another program appends to faster than it is read.
struct Growing;

impl Read for Growing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.fill(b'\n');
        Ok(buffer.len())
    }
}

#[test]
fn a_file_that_grows_while_it_is_read_is_read_to_its_bound_at_most() {
    let stream = Stream::of(PATIENCE, LARGEST_BYTES, || Ok((Growing, 0))).unwrap();
    let lines: io::Result<Vec<_>> = stream.lines().collect();
    assert!(lines.unwrap_err().to_string().contains("it is larger than 1 MiB"));
}

/// A file behind a dead network mount, after its first bytes.
struct Dead(std::sync::mpsc::Receiver<()>, &'static [u8]);

impl Read for Dead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.1.is_empty() {
            // Nothing is ever sent: it hangs until the test ends.
            let _ = self.0.recv();
        }
        self.1.read(buffer)
    }
}

#[test]
fn whatever_hangs_is_given_up_after_a_time() {
    let (_held, hangs) = channel::<()>();
    let opening = Stream::of(BRIEF, LARGEST_BYTES, move || {
        let _ = hangs.recv();
        Ok((io::empty(), 0))
    });
    assert!(matches!(opening.map(drop), Err(Error::TimedOut)));

    let (_held_too, hangs) = channel();
    let mut stream = Stream::of(BRIEF, LARGEST_BYTES, move || Ok((Dead(hangs, b"begun"), 0))).unwrap();
    let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "nothing was read within 5 s");

    let (_held_as_well, hangs) = channel::<()>();
    let call = within(BRIEF, move || Ok(hangs.recv().is_ok()));
    assert!(matches!(call, Err(Error::TimedOut)));
}

#[test]
fn a_runtime_goes_on_beside_a_file_that_hangs_and_ends_without_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (held, hangs) = channel::<()>();
    runtime.block_on(async {
        let hanging = off_loop(move || hangs.recv().is_ok());
        assert!(tokio::time::timeout(BRIEF, hanging).await.is_err());
        assert_eq!(off_loop(|| 1).await.unwrap(), 1);
    });
    // With tokio's own blocking threads this would wait for the one that hangs.
    drop(runtime);
    drop(held);
}

#[test]
fn a_folder_is_listed_and_a_part_is_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one");
    fs::File::create(&path).unwrap().write_all(b"x").unwrap();
    assert_eq!(list(folder.path()).unwrap(), std::slice::from_ref(&path));
    assert!(metadata(&path).unwrap().is_file() && metadata(folder.path()).unwrap().is_dir());
    assert!(list(&path).map(drop).is_err());
}
