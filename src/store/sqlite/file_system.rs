//! File systems on which SQLite's locks and syncs may fail.

use std::path::Path;

/// Types of file systems by the number that `statfs` gives (statfs(2), linux/magic.h).
const NETWORK: &[(u64, &str)] = &[
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB 2"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x564c, "NCP"),
    (0x7461_636f, "OCFS2"),
    (0x0116_1970, "GFS2"),
    (0x0bd0_0bd0, "Lustre"),
    (0x786f_4256, "VirtualBox shared folders"),
];

/// The network file system, or a similar one, of that file or of the nearest existing folder above it;
/// `None`: it is local.
pub fn network(path: &Path) -> Option<&'static str> {
    let named_here =
        |path: &Path| if path.as_os_str().is_empty() { Path::new(".").into() } else { path.to_owned() };
    let found = path.ancestors().find_map(|path| rustix::fs::statfs(named_here(path)).ok())?;
    // Signed on some machines, where a number above 2^31 reads as a negative one.
    named(u64::from(found.f_type as u32))
}

fn named(number: u64) -> Option<&'static str> {
    NETWORK.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_file_system_is_named_and_a_local_one_is_not() {
        for (number, name) in
            [(0x6969, "NFS"), (0xff53_4d42, "CIFS"), (0x0102_1997, "9p"), (0x6573_5546, "FUSE")]
        {
            assert_eq!(named(number), Some(name));
        }
        // ext4, xfs, btrfs, tmpfs, overlayfs.
        for local in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630] {
            assert_eq!(named(local), None);
        }
        assert_eq!(network(Path::new("/proc")), None);
    }
}
