//! Who asks: bearer tokens, certificates, addresses.
//!
//! A file of tokens has a line for each: a name, the token (at least 16 characters), and when it expires, such as `2027-01-31T00:00:00Z`,
//! or `never`. Empty lines and those that begin with `#` are left out. The file is read again when it changes.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// No file of tokens is larger.
const LARGEST_FILE: u64 = 1 << 20;
/// Shorter tokens can be guessed.
const SHORTEST_TOKEN: usize = 16;

/// Why a file of tokens is refused.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A line is not as it should be. What it holds is not repeated.
    #[error("{}, line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

struct Token {
    name: String,
    digest: [u8; 32],
    expires: Option<SystemTime>,
}

#[derive(Default)]
struct State {
    /// What the file looked like when it was read: when it was changed, and its length.
    stamp: Option<(SystemTime, u64)>,
    tokens: Vec<Token>,
}

/// The tokens that are accepted.
pub struct Tokens {
    path: PathBuf,
    state: RwLock<State>,
}

/// What a token says of who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A client of this name.
    Known(String),
    /// A client of this name, too late.
    Expired(String),
    /// Nobody.
    Unknown,
}

impl Tokens {
    /// Reads a file of tokens.
    ///
    /// # Errors
    /// [`TokenError`] names the line.
    pub fn read(path: PathBuf) -> Result<Self, TokenError> {
        let tokens = Self { path, state: RwLock::default() };
        tokens.reload()?;
        Ok(tokens)
    }

    /// Reads the file again if it has changed; otherwise, and if it is not as it should be, the tokens stay. Returns whether they changed.
    ///
    /// # Errors
    /// [`TokenError`] names the line.
    pub fn reload(&self) -> Result<bool, TokenError> {
        let failed = |source| TokenError::Io { path: self.path.clone(), source };
        let metadata = std::fs::metadata(&self.path).map_err(failed)?;
        let stamp = Some((metadata.modified().map_err(failed)?, metadata.len()));
        if self.state.read().unwrap_or_else(PoisonError::into_inner).stamp == stamp {
            return Ok(false);
        }
        if metadata.len() > LARGEST_FILE {
            let reason = format!("{} bytes, expected at most {LARGEST_FILE}", metadata.len());
            return Err(TokenError::Line { path: self.path.clone(), line: 1, reason });
        }
        let text = std::fs::read_to_string(&self.path).map_err(failed)?;
        let tokens = self.parse(&text)?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State { stamp, tokens };
        Ok(true)
    }

    fn parse(&self, text: &str) -> Result<Vec<Token>, TokenError> {
        let mut tokens = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let refuse = |reason: &str| {
                let (path, reason) = (self.path.clone(), reason.to_owned());
                Err(TokenError::Line { path, line: index + 1, reason })
            };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let [name, token, expires] = line.split_whitespace().collect::<Vec<_>>()[..] else {
                return refuse("expected a name, a token and when it expires");
            };
            if token.len() < SHORTEST_TOKEN {
                return refuse("the token is shorter than 16 characters");
            }
            let expires = match (expires, instant(expires)) {
                ("never", _) => None,
                (_, Some(instant)) => Some(instant),
                (_, None) => return refuse("expected a time such as 2027-01-31T00:00:00Z, or never"),
            };
            tokens.push(Token { name: name.to_owned(), digest: *blake3::hash(token.as_bytes()).as_bytes(), expires });
        }
        Ok(tokens)
    }

    /// Whose token this is. The time taken does not depend on which one it is, nor on how much of it is right.
    pub fn verdict(&self, token: &str, now: SystemTime) -> Verdict {
        let digest = blake3::hash(token.as_bytes());
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let (mut found, mut at) = (Choice::from(0), 0u64);
        for (index, token) in state.tokens.iter().enumerate() {
            let same = digest.as_bytes().ct_eq(&token.digest);
            at.conditional_assign(&(index as u64), same);
            found |= same;
        }
        match state.tokens.get(at as usize).filter(|_| bool::from(found)) {
            None => Verdict::Unknown,
            Some(token) if token.expires.is_some_and(|expires| expires <= now) => Verdict::Expired(token.name.clone()),
            Some(token) => Verdict::Known(token.name.clone()),
        }
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("path", &self.path).finish_non_exhaustive()
    }
}

/// `2027-01-31T00:00:00Z`.
fn instant(text: &str) -> Option<SystemTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, by: char| -> Option<[u64; 3]> {
        let parts: Option<Vec<u64>> = text.split(by).map(|part| part.parse().ok()).collect();
        parts?.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(date, '-')?, numbers(time, ':')?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let valid = (1970..10_000).contains(&year) && (1..=12).contains(&month);
    if !valid || day == 0 || day > lengths[month as usize - 1] || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let before: u64 = lengths[..month as usize - 1].iter().sum();
    let days = (year - 1970) * 365 + leaps(year - 1) - leaps(1969) + before + day - 1;
    Some(UNIX_EPOCH + Duration::from_secs(((days * 24 + hour) * 60 + minute) * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_since_1970() {
        let seconds = |text| instant(text).map(|at| at.duration_since(UNIX_EPOCH).expect("after 1970").as_secs());
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2000-03-01T00:00:00Z"), Some(951_868_800));
        assert_eq!(seconds("2026-11-23T12:30:45Z"), Some(1_795_437_045));
        for bad in
            ["2027-02-29T00:00:00Z", "2027-01-31", "2027-13-01T00:00:00Z", "1-1-1T1:1:1Z", "2027-01-31T24:00:00Z"]
        {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
