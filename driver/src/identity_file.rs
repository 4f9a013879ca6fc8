//! An identity in a file: made once, kept secret, and never silently another one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    str,
};

use bech32::{Bech32m, Hrp, primitives::decode::CheckedHrpstring};
use quicpool_core::Identity;
use zeroize::Zeroizing;

/// The prefix of the line in the file, which distinguishes it from a peer id.
const HRP: Hrp = Hrp::parse_unchecked("qpsecret");

/// The length of the line: prefix, separator, 52 characters of seed, 6 of checksum.
const LINE_LEN: usize = 8 + 1 + 52 + 6;

/// More than any identity file has, and little enough to read whatever the path leads to.
const FILE_BYTES_MAX: u64 = 256;

/// A file that holds the secret of an [`Identity`].
///
/// It has one line of text: `qpsecret1`, the 32 bytes of the seed, and a checksum (bech32m,
/// BIP-350), so that a damaged file is an error and not another identity. Only its owner may read
/// or write it.
#[derive(Debug)]
pub struct IdentityFile;

impl IdentityFile {
    /// The identity in the file at `path`, which is made with a new one if there is none. Where the
    /// file must be there already, [`load`](Self::load) is the safe choice.
    ///
    /// The file appears complete or not at all, with mode 0600, and is never overwritten: two
    /// processes that make it at once end with the same identity. Its directory must exist.
    ///
    /// Blocks while it reads and writes.
    ///
    /// ```
    /// use quicpool_driver::IdentityFile;
    ///
    /// let directory = tempfile::tempdir()?;
    /// let path = directory.path().join("identity");
    /// let first = IdentityFile::load_or_create(&path)?;
    /// let later = IdentityFile::load_or_create(&path)?;
    /// assert_eq!(first.peer_id(), later.peer_id());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`IdentityFileError`]. A file that was there before is unchanged.
    pub fn load_or_create(path: impl AsRef<Path>) -> Result<Identity, IdentityFileError> {
        let path = path.as_ref();
        match load(path)? {
            Some(identity) => Ok(identity),
            None => create(path),
        }
    }

    /// Loads the identity in the file at `path`, and never makes one: for deployments that bring the
    /// file along, as a mounted secret. Peers would take a process with a new identity for a stranger.
    ///
    /// Blocks while it reads.
    ///
    /// ```
    /// use quicpool_driver::{IdentityFile, IdentityFileError};
    ///
    /// let directory = tempfile::tempdir()?;
    /// let path = directory.path().join("identity");
    /// let error = IdentityFile::load(&path).unwrap_err();
    /// assert!(matches!(error, IdentityFileError::Missing { .. }));
    /// assert!(!path.exists());
    ///
    /// let made = IdentityFile::load_or_create(&path)?;
    /// assert_eq!(IdentityFile::load(&path)?.peer_id(), made.peer_id());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`IdentityFileError::Missing`] if there is no file. For the others see [`IdentityFileError`].
    pub fn load(path: impl AsRef<Path>) -> Result<Identity, IdentityFileError> {
        let path = path.as_ref();
        load(path)?.ok_or_else(|| IdentityFileError::Missing {
            path: path.to_owned(),
        })
    }
}

/// Why there is no identity in a file. In every case the file is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityFileError {
    /// The file could not be read.
    #[error("cannot read the identity in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// There is no file, and none is made by [`IdentityFile::load`].
    #[error(
        "there is no identity in {}: the file does not exist; bring it along, or make one with \
         IdentityFile::load_or_create",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be made.
    #[error("cannot create the identity in {}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The directory that the file should be in does not exist.
    #[error(
        "cannot create the identity in {}: its directory does not exist; create it first",
        path.display()
    )]
    NoDirectory {
        /// The file.
        path: PathBuf,
    },
    /// What is there is not a file: a directory, a device.
    #[error("{} is not a file", path.display())]
    NotAFile {
        /// What is not a file.
        path: PathBuf,
    },
    /// Others than its owner may read or write the file, so its secret may be known to them.
    #[error(
        "{} has mode {mode:04o}, so others may know its secret; if they do not, run: chmod 600 {}",
        path.display(),
        path.display()
    )]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another user owns the file, who may know its secret and put another one in its place.
    #[error(
        "{} belongs to the user with id {owner}: it must belong to the user that the process runs as, or to root; if it \
         is yours, run: chown $(id -u) {}",
        path.display(),
        path.display()
    )]
    WrongOwner {
        /// The file.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
    },
    /// What is in the file is not an identity.
    #[error("{} does not hold an identity: {damage}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
}

/// What is wrong with the contents of an identity file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// There is more or less in it than an identity.
    #[error("its line should have {LINE_LEN} characters and has {found}")]
    Length {
        /// Characters found, of a longer file only as many as were read.
        found: usize,
    },
    /// It holds something else.
    #[error("it does not begin with `{HRP}1`")]
    Prefix,
    /// At least one character has changed.
    #[error("its checksum does not match")]
    Checksum,
}

/// The identity in a file, if the file exists.
fn load(path: &Path) -> Result<Option<Identity>, IdentityFileError> {
    let failed = |source| IdentityFileError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Asked of the open file and not of the path, which may lead elsewhere a moment later.
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(IdentityFileError::NotAFile {
            path: path.to_owned(),
        });
    }
    check_access(path, &metadata)?;

    // Of full size from the start: a buffer that grew would leave copies of the secret behind.
    let mut text = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize + 32));
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(failed)?;
    let identity = parse(&text).map_err(|damage| IdentityFileError::Damaged {
        path: path.to_owned(),
        damage,
    })?;
    Ok(Some(identity))
}

/// The identity in the text of a file.
pub fn parse(text: &[u8]) -> Result<Identity, Damage> {
    let line = text.trim_ascii_end();
    if line.is_empty() {
        return Err(Damage::Empty);
    }
    if line.len() != LINE_LEN {
        return Err(Damage::Length { found: line.len() });
    }
    let line = str::from_utf8(line).map_err(|_| Damage::Checksum)?;
    if !line.starts_with("qpsecret1") {
        return Err(Damage::Prefix);
    }
    let checked = CheckedHrpstring::new::<Bech32m>(line).map_err(|_| Damage::Checksum)?;
    if checked.hrp() != HRP {
        return Err(Damage::Prefix);
    }
    let mut seed = Zeroizing::new([0; Identity::SEED_LEN]);
    for (place, byte) in seed.iter_mut().zip(checked.byte_iter()) {
        *place = byte;
    }
    Ok(Identity::from_seed(&seed))
}

/// Makes a file with a new identity, or loads the one that another process has made meanwhile.
fn create(path: &Path) -> Result<Identity, IdentityFileError> {
    let failed = |source: io::Error| {
        if source.kind() == io::ErrorKind::NotFound {
            IdentityFileError::NoDirectory {
                path: path.to_owned(),
            }
        } else {
            IdentityFileError::Create {
                path: path.to_owned(),
                source,
            }
        }
    };
    let identity = Identity::generate();
    let draft = Draft::write(path, &identity).map_err(failed)?;
    match draft.publish(path) {
        Ok(()) => Ok(identity),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            load(path)?.ok_or_else(|| failed(error))
        }
        Err(error) => Err(failed(error)),
    }
}

/// A complete file under a random name, removed when it is dropped.
struct Draft(PathBuf);

impl Draft {
    fn write(path: &Path, identity: &Identity) -> io::Result<Self> {
        let draft = Self(Self::name(path)?);
        let mut file = create_new(&draft.0)?;
        let mut line = Zeroizing::new(String::with_capacity(LINE_LEN + 1));
        bech32::encode_lower_to_fmt::<Bech32m, _>(&mut *line, HRP, identity.seed())
            .map_err(|error| io::Error::other(error.to_string()))?;
        line.push('\n');
        file.write_all(line.as_bytes())?;
        file.sync_all()?;
        Ok(draft)
    }

    /// A name beside the file: a link cannot lead to another file system.
    #[expect(
        clippy::disallowed_methods,
        reason = "files are the operating system's, whatever runtime there is"
    )]
    fn name(path: &Path) -> io::Result<PathBuf> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{:016x}.tmp", u64::from_le_bytes(random)));
        Ok(path.with_file_name(name))
    }

    /// Gives the file its name, unless another file has it: a link never replaces.
    fn publish(self, path: &Path) -> io::Result<()> {
        fs::hard_link(&self.0, path)?;
        sync_directory(path);
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Lets the new name survive a power failure. Not every file system can, and then none of them
/// promises more for having been asked.
fn sync_directory(path: &Path) {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let _ = File::open(parent.unwrap_or(Path::new("."))).and_then(|directory| directory.sync_all());
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    // A pipe without a writer would be waited for otherwise.
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
}

#[cfg(unix)]
fn create_new(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

#[cfg(unix)]
fn check_access(path: &Path, metadata: &fs::Metadata) -> Result<(), IdentityFileError> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let path = path.to_owned();
    let owner = metadata.uid();
    if !is_trusted(owner, rustix::process::geteuid().as_raw()) {
        return Err(IdentityFileError::WrongOwner { path, owner });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(IdentityFileError::TooOpen { path, mode });
    }
    Ok(())
}

/// Whether this user may own the file of a process that runs as `us`. Root reads and writes all files anyway.
#[cfg(unix)]
const fn is_trusted(owner: u32, us: u32) -> bool {
    owner == us || owner == 0
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

#[cfg(not(unix))]
fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Elsewhere the access lists of the directory decide.
#[cfg(not(unix))]
fn check_access(_: &Path, _: &fs::Metadata) -> Result<(), IdentityFileError> {
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, sync::Barrier, thread};

    use tempfile::TempDir;

    use super::*;

    fn place() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity");
        (directory, path)
    }

    fn write(path: &Path, contents: &[u8]) {
        create_new(path).unwrap().write_all(contents).unwrap();
    }

    fn damage(contents: &[u8]) -> Damage {
        let (_directory, path) = place();
        write(&path, contents);
        let error = IdentityFile::load_or_create(&path).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), contents, "the file is unchanged");
        assert!(error.to_string().contains(path.to_str().unwrap()));
        let IdentityFileError::Damaged { damage, .. } = error else {
            panic!("{error}");
        };
        damage
    }

    fn valid() -> Vec<u8> {
        let (_directory, path) = place();
        IdentityFile::load_or_create(&path).unwrap();
        fs::read(&path).unwrap()
    }

    #[test]
    fn load_never_makes_a_file_and_says_where_it_looked() {
        let directory = tempfile::tempdir().unwrap();
        for path in ["identity", "missing/identity"].map(|name| directory.path().join(name)) {
            let error = IdentityFile::load(&path).unwrap_err();
            assert!(matches!(&error, IdentityFileError::Missing { path: said } if *said == path));
            assert!(
                error.to_string().contains(&path.display().to_string()),
                "{error}"
            );
            assert!(!path.exists());
        }
        let path = directory.path().join("identity");
        let made = IdentityFile::load_or_create(&path).unwrap();
        assert_eq!(IdentityFile::load(&path).unwrap().peer_id(), made.peer_id());
    }

    #[test]
    fn a_new_identity_comes_back_and_nothing_else_is_left() {
        let (directory, path) = place();
        let created = IdentityFile::load_or_create(&path).unwrap();
        let loaded = IdentityFile::load_or_create(&path).unwrap();
        assert_eq!(created.seed(), loaded.seed());
        assert_eq!(created.peer_id(), loaded.peer_id());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_made_by_two_at_once_has_one_identity() {
        let (directory, path) = place();
        let barrier = Barrier::new(4);
        let ids: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        IdentityFile::load_or_create(&path).unwrap().peer_id()
                    })
                })
                .collect();
            threads.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_remedy() {
        for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
            let (_directory, path) = place();
            IdentityFile::load_or_create(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = IdentityFile::load_or_create(&path).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&format!("mode {mode:04o}")), "{text}");
            assert!(
                text.contains(&format!("chmod 600 {}", path.display())),
                "{text}"
            );
        }
    }

    /// Failure 45.
    #[test]
    fn a_file_of_another_user_is_refused() {
        assert!(is_trusted(1_000, 1_000) && is_trusted(0, 1_000));
        assert!(!is_trusted(1_000, 0) && !is_trusted(1_001, 1_000));
        let (_directory, path) = place();
        write(&path, &valid());
        // Only root can give a file away.
        if std::os::unix::fs::chown(&path, Some(12_345), None).is_err() {
            return;
        }
        let error = IdentityFile::load_or_create(&path).unwrap_err();
        assert!(matches!(
            error,
            IdentityFileError::WrongOwner { owner: 12_345, .. }
        ));
        let text = error.to_string();
        assert!(text.contains("12345") && text.contains("chown"), "{text}");
    }

    #[test]
    fn damage_is_found_and_named() {
        assert_eq!(damage(b""), Damage::Empty);
        assert_eq!(damage(b" \n"), Damage::Empty);
        assert_eq!(damage(b"qpsecret1"), Damage::Length { found: 9 });
        assert_eq!(damage(&[b'x'; 10_000]), Damage::Length { found: 256 });
        let mut other = valid();
        other[..9].copy_from_slice(b"bcsecret1");
        assert_eq!(damage(&other), Damage::Prefix);
        assert_eq!(damage(&[0xff; LINE_LEN]), Damage::Checksum);
    }

    #[test]
    fn every_changed_character_is_found() {
        let valid = valid();
        for at in 9..LINE_LEN {
            let mut changed = valid.clone();
            changed[at] = if changed[at] == b'q' { b'p' } else { b'q' };
            assert_eq!(parse(&changed).err(), Some(Damage::Checksum), "{at}");
        }
        assert!(parse(&valid).is_ok());
    }

    #[test]
    fn what_is_not_a_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let error = IdentityFile::load_or_create(directory.path()).unwrap_err();
        assert!(
            matches!(error, IdentityFileError::NotAFile { .. }),
            "{error}"
        );
    }

    #[test]
    fn a_missing_directory_is_named() {
        let (directory, _) = place();
        let path = directory.path().join("missing").join("identity");
        let error = IdentityFile::load_or_create(&path).unwrap_err();
        assert!(matches!(error, IdentityFileError::NoDirectory { .. }));
        assert!(error.to_string().contains("directory does not exist"));
    }
}
