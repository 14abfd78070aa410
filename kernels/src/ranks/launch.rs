//! How ranks find each other: the environment variables that launchers set, and the first words on a connection.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use super::RanksError;

/// For all ranks to come.
const PATIENCE: Duration = Duration::from_secs(600);

/// For the first words of a connection, which may be a stranger's.
const GREETING: Duration = Duration::from_secs(5);

/// Between attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// What both sides say first, with the version that they must share.
const HELLO: &[u8] = concat!("playhouse ranks ", env!("CARGO_PKG_VERSION"), "\n").as_bytes();

/// A process's place, as `torchrun` and its like tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// From 0.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
    /// Among the ranks of this machine: which GPU is this one's.
    pub local_rank: usize,
    /// Where rank 0 listens, `host:port`; empty if it is alone.
    pub address: String,
}

fn launch(why: impl Into<String>) -> RanksError {
    RanksError::Launch(why.into())
}

impl Launch {
    /// Reads RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT; none if neither of the first two is set.
    ///
    /// # Errors
    /// Names the variable that is missing or out of range.
    pub fn from_environment() -> Result<Option<Self>, RanksError> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// The same from any place that knows variables.
    ///
    /// # Errors
    /// As there.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, RanksError> {
        let number = |name: &str| -> Result<Option<usize>, RanksError> {
            let Some(text) = variable(name) else { return Ok(None) };
            let value = text.trim().parse().map_err(|_| launch(format!("{name} is `{text}`, but must be a number")))?;
            Ok(Some(value))
        };
        let (rank, size) = match (number("RANK")?, number("WORLD_SIZE")?) {
            (None, None) => return Ok(None),
            (Some(rank), Some(size)) => (rank, size),
            (None, Some(_)) => return Err(launch("WORLD_SIZE is set, but RANK is not: set both, or neither")),
            (Some(_), None) => return Err(launch("RANK is set, but WORLD_SIZE is not: set both, or neither")),
        };
        if rank >= size {
            return Err(launch(format!("RANK is {rank}, but must be less than WORLD_SIZE, which is {size}")));
        }
        let local_rank = number("LOCAL_RANK")?.unwrap_or(0);
        let address = if size == 1 {
            String::new()
        } else {
            let missing = |name: &str| launch(format!("{name} is not set: it says where rank 0 of {size} is reached"));
            let host = variable("MASTER_ADDR").ok_or_else(|| missing("MASTER_ADDR"))?;
            let port = number("MASTER_PORT")?.ok_or_else(|| missing("MASTER_PORT"))?;
            // There torchrun itself listens.
            let taken = variable("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|text| text == "True");
            let port = u16::try_from(port + usize::from(taken))
                .map_err(|_| launch(format!("MASTER_PORT is {port}, but must be less than 65535")))?;
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
        };
        Ok(Some(Self { rank, size, local_rank, address }))
    }

    /// Connections with all who are reached directly, in order of rank.
    pub(super) fn streams(&self) -> Result<Vec<TcpStream>, RanksError> {
        match (self.size, self.rank) {
            (1, _) => Ok(Vec::new()),
            (_, 0) => self.accept(&self.listen()?),
            _ => self.connect().map(|stream| vec![stream]),
        }
    }

    fn fault(&self, e: &std::io::Error) -> RanksError {
        launch(format!("rank 0 cannot listen at {} (MASTER_ADDR, MASTER_PORT): {e}", self.address))
    }

    fn listen(&self) -> Result<TcpListener, RanksError> {
        TcpListener::bind(&self.address).map_err(|e| self.fault(&e))
    }

    /// On rank 0: the connections of all others, when they have come.
    pub(super) fn accept(&self, listener: &TcpListener) -> Result<Vec<TcpStream>, RanksError> {
        listener.set_nonblocking(true).map_err(|e| self.fault(&e))?;
        let since = Instant::now();
        let mut met = BTreeMap::new();
        while met.len() < self.size - 1 {
            match listener.accept() {
                Ok((stream, _)) => {
                    // Whoever does not say the right words is not one of us.
                    if let Some((rank, stream)) = self.greeted(stream)
                        && met.insert(rank, stream).is_some()
                    {
                        return Err(launch(format!("two processes say that they are rank {rank} (RANK)")));
                    }
                }
                Err(_) if since.elapsed() > PATIENCE => {
                    let absent: Vec<String> =
                        (1..self.size).filter(|rank| !met.contains_key(rank)).map(|rank| rank.to_string()).collect();
                    let (absent, seconds) = (absent.join(", "), PATIENCE.as_secs());
                    return Err(launch(format!("rank {absent} of {} did not come within {seconds} s", self.size)));
                }
                Err(_) => thread::sleep(PAUSE),
            }
        }
        Ok(met.into_values().collect())
    }

    /// A connection whose first words are those of a rank of ours, and which.
    fn greeted(&self, mut stream: TcpStream) -> Option<(usize, TcpStream)> {
        stream.set_nonblocking(false).ok()?;
        stream.set_read_timeout(Some(GREETING)).ok()?;
        let mut words = vec![0; HELLO.len() + 16];
        stream.read_exact(&mut words).ok()?;
        let (hello, numbers) = words.split_at(HELLO.len());
        let [rank, size] =
            [&numbers[..8], &numbers[8..]].map(|b| b.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)));
        let (rank, size) = (usize::try_from(rank).ok()?, usize::try_from(size).ok()?);
        if hello != HELLO || size != self.size || !(1..size).contains(&rank) {
            return None;
        }
        stream.set_read_timeout(None).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.write_all(HELLO).ok()?;
        Some((rank, stream))
    }

    fn connect(&self) -> Result<TcpStream, RanksError> {
        let since = Instant::now();
        loop {
            match self.greet() {
                Ok(stream) => return Ok(stream),
                Err(e) if since.elapsed() > PATIENCE => {
                    return Err(launch(format!(
                        "rank {} does not reach rank 0 at {} (MASTER_ADDR, MASTER_PORT): {e}",
                        self.rank, self.address
                    )));
                }
                Err(_) => thread::sleep(PAUSE),
            }
        }
    }

    fn greet(&self) -> std::io::Result<TcpStream> {
        let addresses: Vec<_> = self.address.to_socket_addrs()?.collect();
        let mut stream = TcpStream::connect(&addresses[..])?;
        // While nobody listens, a connection to a port that the system gives to callers may be with itself.
        if stream.local_addr()? == stream.peer_addr()? {
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        }
        stream.set_nodelay(true)?;
        stream.write_all(HELLO)?;
        stream.write_all(&(self.rank as u64).to_le_bytes())?;
        stream.write_all(&(self.size as u64).to_le_bytes())?;
        stream.set_read_timeout(Some(GREETING))?;
        let mut answer = vec![0; HELLO.len()];
        stream.read_exact(&mut answer)?;
        stream.set_read_timeout(None)?;
        Ok(stream)
    }
}
