//! How ranks find each other: the environment variables that launchers set, and the first words on a connection.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::{POLL, RanksError, idle};

/// For all ranks to come.
const PATIENCE: Duration = Duration::from_secs(600);

/// For the first words of a connection, which may be a stranger's.
const GREETING: Duration = Duration::from_secs(5);

/// For rank 0's answer: longer, for a stranger may be before us.
const ANSWER: Duration = Duration::from_secs(60);

/// Before a rank says what it waits for.
const SILENCE: Duration = Duration::from_secs(1);

/// Between attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Between attempts to look a name up, which servers answer that are not ours.
const LOOKUP: Duration = Duration::from_secs(1);

/// So often a name is looked up: it may be new, or its server busy.
const LOOKUPS: usize = 5;

/// What both sides say first, with the version that they must share.
const HELLO: &[u8] = concat!("playhouse ranks ", env!("CARGO_PKG_VERSION"), "\n").as_bytes();

/// How that begins in every version.
const FAMILY: &[u8] = b"playhouse ranks ";

/// What rank 0 says instead; the reason follows.
const REFUSAL: &[u8] = b"playhouse refuses this rank: ";

/// Bytes of a refusal that are read.
const REASON: u64 = 1000;

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
    /// What it was started to do, as a number: rank 0 tells which others have another.
    pub command: u64,
}

/// What a process that waits for others asks and tells.
#[derive(Clone, Copy)]
pub struct Waiting<'a> {
    /// Whether to wait no longer. Asked several times a second.
    pub stop: &'a dyn Fn() -> bool,
    /// Takes a line for whoever wonders what is being waited for.
    pub tell: &'a dyn Fn(&str),
}

impl Waiting<'static> {
    /// In silence, and for nobody's sake to be stopped.
    pub fn patiently() -> Self {
        Self { stop: &|| false, tell: &|_| () }
    }
}

/// Why an attempt to reach rank 0 came to nothing.
enum Missed {
    /// Nobody knows the name of its machine.
    Unknown(io::Error),
    /// Nobody is there who speaks as we do.
    Absent(io::Error),
    /// It does not want this rank.
    Refused(String),
}

impl From<io::Error> for Missed {
    fn from(error: io::Error) -> Self {
        Self::Absent(error)
    }
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
            let most = u16::MAX - u16::from(taken);
            let within = u16::try_from(port).ok().filter(|port| (1..=most).contains(port));
            let port = within.ok_or_else(|| {
                let why = if taken { ", for the port after it is taken: torchrun listens at this one" } else { "" };
                launch(format!("MASTER_PORT is {port}, but must be from 1 to {most}{why}"))
            })? + u16::from(taken);
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
        };
        Ok(Some(Self { rank, size, local_rank, address, command: 0 }))
    }

    /// Connections with all who are reached directly, in order of rank.
    pub(super) fn streams(&self, waiting: Waiting<'_>) -> Result<Vec<TcpStream>, RanksError> {
        match (self.size, self.rank) {
            (1, _) => Ok(Vec::new()),
            (_, 0) => self.accept(&self.listen()?, waiting),
            _ => self.connect(waiting).map(|stream| vec![stream]),
        }
    }

    fn fault(&self, e: &io::Error) -> RanksError {
        launch(format!("rank 0 cannot listen at {} (MASTER_ADDR, MASTER_PORT): {e}", self.address))
    }

    fn listen(&self) -> Result<TcpListener, RanksError> {
        TcpListener::bind(&self.address).map_err(|e| self.fault(&e))
    }

    /// On rank 0: the connections of all others, when they have come.
    pub(super) fn accept(&self, listener: &TcpListener, waiting: Waiting<'_>) -> Result<Vec<TcpStream>, RanksError> {
        listener.set_nonblocking(true).map_err(|e| self.fault(&e))?;
        let since = Instant::now();
        let mut met = BTreeMap::new();
        while met.len() < self.size - 1 {
            if (waiting.stop)() {
                return Err(RanksError::Stopped);
            }
            match listener.accept() {
                Ok((stream, _)) => {
                    // Whoever does not say the right words is not one of us.
                    if let Some((rank, stream)) = self.greeted(stream, waiting)
                        && let Some(before) = met.insert(rank, stream)
                        && !gone(&before)
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
    fn greeted(&self, mut stream: TcpStream, waiting: Waiting<'_>) -> Option<(usize, TcpStream)> {
        stream.set_nonblocking(false).ok()?;
        let mut words = vec![0; self.greeting().len()];
        hear(&mut stream, &mut words, waiting.stop).ok()?;
        let (hello, numbers) = words.split_at(HELLO.len());
        let numbers: Vec<u64> = numbers.as_chunks().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
        let [rank, size, command] = numbers[..] else { return None };
        if !hello.starts_with(FAMILY) {
            return None;
        }
        if hello != HELLO {
            let own = env!("CARGO_PKG_VERSION");
            return refuse(
                stream,
                "a process",
                &format!("it is of another version than rank 0, which is {own}"),
                waiting,
            );
        }
        if size != self.size as u64 {
            let why = format!("it was started with WORLD_SIZE={size}, rank 0 with WORLD_SIZE={}", self.size);
            return refuse(stream, &format!("rank {rank}"), &why, waiting);
        }
        let rank = usize::try_from(rank).ok().filter(|rank| (1..self.size).contains(rank))?;
        stream.set_nodelay(true).ok()?;
        stream.write_all(HELLO).ok()?;
        if command != self.command {
            (waiting.tell)(&format!(
                "rank {rank} was started with another pipeline, --set or --select: it takes everything from rank 0"
            ));
        }
        Some((rank, stream))
    }

    /// The first words of a rank above 0.
    fn greeting(&self) -> Vec<u8> {
        let numbers = [self.rank as u64, self.size as u64, self.command];
        [HELLO, numbers.map(u64::to_le_bytes).as_flattened()].concat()
    }

    fn connect(&self, waiting: Waiting<'_>) -> Result<TcpStream, RanksError> {
        let (since, (sender, attempts)) = (Instant::now(), mpsc::channel());
        let place = self.clone();
        let attempt = move || {
            loop {
                let attempt = place.greet();
                let (pause, last) = match attempt {
                    Ok(_) | Err(Missed::Refused(_)) => (Duration::ZERO, true),
                    Err(Missed::Unknown(_)) => (LOOKUP, false),
                    Err(Missed::Absent(_)) => (PAUSE, false),
                };
                // Nobody listens any more where the wait was stopped.
                if sender.send(attempt).is_err() || last {
                    return;
                }
                thread::sleep(pause);
            }
        };
        // Apart, because to look a name up and to connect may take minutes, in which nothing could stop this thread.
        thread::Builder::new().name("meeting".to_owned()).spawn(attempt).map_err(|e| launch(e.to_string()))?;
        let place = format!("rank 0 at {} (MASTER_ADDR, MASTER_PORT)", self.address);
        let (mut why, mut told, mut unknown) = ("no answer yet".to_owned(), false, 0);
        loop {
            match attempts.recv_timeout(POLL) {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(Missed::Refused(why))) => {
                    return Err(launch(format!("{place} refuses rank {}: {why}", self.rank)));
                }
                Ok(Err(Missed::Unknown(e))) => (why, unknown) = (e.to_string(), unknown + 1),
                Ok(Err(Missed::Absent(e))) => (why, unknown) = (e.to_string(), 0),
                Err(_) => {}
            }
            if (waiting.stop)() {
                return Err(RanksError::Stopped);
            }
            if unknown == LOOKUPS || since.elapsed() > PATIENCE {
                return Err(launch(format!("rank {} does not reach {place}: {why}", self.rank)));
            }
            if !told && since.elapsed() > SILENCE {
                (waiting.tell)(&format!("rank {} waits for {place}: {why}", self.rank));
                told = true;
            }
        }
    }

    fn greet(&self) -> Result<TcpStream, Missed> {
        let addresses: Vec<_> = self.address.to_socket_addrs().map_err(Missed::Unknown)?.collect();
        let mut stream = TcpStream::connect(&addresses[..])?;
        // While nobody listens, a connection to a port that the system gives to callers may be with itself.
        if stream.local_addr()? == stream.peer_addr()? {
            return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        }
        stream.set_nodelay(true)?;
        stream.write_all(&self.greeting())?;
        stream.set_read_timeout(Some(ANSWER))?;
        let mut answer = vec![0; HELLO.len()];
        stream.read_exact(&mut answer)?;
        if answer != HELLO {
            // A refusal is the longer of the two, and ends with the connection.
            Read::by_ref(&mut stream).take(REASON).read_to_end(&mut answer)?;
            return Err(match answer.strip_prefix(REFUSAL) {
                Some(why) => Missed::Refused(String::from_utf8_lossy(why).into_owned()),
                None => io::Error::new(io::ErrorKind::InvalidData, "whoever listens there is no playhouse").into(),
            });
        }
        stream.set_read_timeout(None)?;
        Ok(stream)
    }
}

/// Fills `words` with what comes in time: who waits for a stranger can still be stopped.
fn hear(stream: &mut TcpStream, words: &mut [u8], stop: &dyn Fn() -> bool) -> io::Result<()> {
    stream.set_read_timeout(Some(POLL))?;
    let (since, mut heard) = (Instant::now(), 0);
    while heard < words.len() {
        if since.elapsed() > GREETING || stop() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match stream.read(&mut words[heard..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => heard += n,
            Err(e) if idle(&e) => {}
            Err(e) => return Err(e),
        }
    }
    stream.set_read_timeout(None)
}

/// Sends one of ours away who does not fit, and says so on both sides: rank 0 goes on waiting for who does.
fn refuse(mut stream: TcpStream, who: &str, why: &str, waiting: Waiting<'_>) -> Option<(usize, TcpStream)> {
    (waiting.tell)(&format!("refused {who}: {why}"));
    // It may have gone.
    let _ = stream.write_all(&[REFUSAL, why.as_bytes()].concat());
    None
}

/// Whether a rank that was met has ended since, as one that is started again has. It says nothing before a task begins.
fn gone(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).is_err() || !stream.peek(&mut [0]).is_err_and(|e| idle(&e))
}
