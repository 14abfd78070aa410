//! Processes that train one model together: the numbers they sum, and what the first of them asks of the others.
//!
//! ```text
//!   rank 0 (leads)  --- TCP ---  rank 1          a task       0 -> all       what to do next
//!                   --- TCP ---  rank 2          a sum        all -> 0 -> all
//!                   --- TCP ---  rank 3          given up     any -> 0 -> all
//!                                                stopped      any -> 0
//! ```
//!
//! A star: it carries a few numbers a step, and the gradients of processors; those of GPUs go through NCCL. Rank 0 adds in order of rank and
//! sends the sum to all, so that every rank has the same bits. Every frame has the number of its task: what a rank had sent
//! before it learnt that a task was given up is passed over. A task that begins while a rank still works on the one before is
//! an error of that one, and kept for when it asks.

mod frame;
mod launch;
#[cfg(test)]
mod tests;
mod together;

use std::fmt;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use frame::{Content, Frame};
pub use launch::{Launch, Waiting};
#[doc(hidden)]
pub use together::together;

/// Between two looks at whether somebody who waits was asked to stop.
const POLL: Duration = Duration::from_millis(100);

/// Whether a read only found nothing: yet, in its time, or because a signal came.
fn idle(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Why ranks cannot work together.
#[derive(Debug)]
#[non_exhaustive]
pub enum RanksError {
    /// They do not find each other: what is wrong and what to set.
    Launch(String),
    /// The connection to a rank broke.
    Lost {
        /// Which.
        rank: usize,
        /// How.
        source: io::Error,
    },
    /// A rank has given the task up.
    GivenUp {
        /// Which.
        rank: usize,
        /// Its reason.
        why: String,
    },
    /// A rank was asked to stop, and has ended.
    Left {
        /// Which.
        rank: usize,
    },
    /// This rank was asked to stop while it waited for others.
    Stopped,
    /// Ranks do not do the same.
    Apart(String),
    /// GPUs cannot sum, because NCCL is absent or refuses: why, and what would help.
    Nccl(String),
}

impl fmt::Display for RanksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Launch(why) | Self::Apart(why) | Self::Nccl(why) => f.write_str(why),
            Self::Lost { rank, source } => write!(f, "rank {rank} is lost: {source}"),
            Self::Left { rank } => write!(f, "rank {rank} was stopped"),
            Self::Stopped => f.write_str("stopped on request"),
            Self::GivenUp { rank, why } => write!(f, "rank {rank} has given up: {why}"),
        }
    }
}

impl std::error::Error for RanksError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lost { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A process among those that train together, or one alone. Clones are the same process.
#[derive(Clone, Default)]
pub struct Ranks {
    rank: usize,
    /// One less than there are.
    others: usize,
    /// Whether a launcher started it.
    launched: bool,
    links: Arc<Mutex<Links>>,
}

/// Connections: on rank 0 to ranks 1, 2, ..., elsewhere to rank 0.
#[derive(Default)]
struct Links {
    streams: Vec<TcpStream>,
    /// Number of the task under way.
    task: u32,
    /// What rank 0 said comes next while this one still waited for a sum.
    next: Option<Frame>,
}

impl fmt::Debug for Ranks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of {}", self.rank, self.size())
    }
}

/// Whether they have the same place.
impl PartialEq for Ranks {
    fn eq(&self, other: &Self) -> bool {
        (self.rank, self.others) == (other.rank, other.others)
    }
}

impl Ranks {
    /// Meets the other ranks: waits until all are there, for ten minutes at most.
    ///
    /// # Errors
    /// The address cannot be used, a rank does not come, rank 0 refuses this one, or it was stopped.
    pub fn meet(launch: &Launch, waiting: Waiting<'_>) -> Result<Self, RanksError> {
        Ok(Self::over(launch, launch.streams(waiting)?))
    }

    fn over(launch: &Launch, streams: Vec<TcpStream>) -> Self {
        let links = Arc::new(Mutex::new(Links { streams, ..Links::default() }));
        Self { rank: launch.rank, others: launch.size - 1, launched: true, links }
    }

    /// From 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.others + 1
    }

    /// Whether a launcher started this process, be it as the only one: then GPUs sum through NCCL.
    pub fn launched(&self) -> bool {
        self.launched
    }

    /// Whether this one decides and writes.
    pub fn leads(&self) -> bool {
        self.rank == 0
    }

    /// This rank's part of `items`: parts follow each other, and differ by one at most.
    pub fn share(&self, items: usize) -> Range<usize> {
        items * self.rank / self.size()..items * (self.rank + 1) / self.size()
    }

    /// values = their sum over all ranks, in order of rank: the same bits everywhere.
    ///
    /// # Errors
    /// A rank is lost, has given up, or sums another number of values.
    pub fn sum(&self, values: &mut [f64]) -> Result<(), RanksError> {
        self.add(values, f64::to_le_bytes, f64::from_le_bytes)
    }

    /// As [`Ranks::sum`], added in f32.
    ///
    /// # Errors
    /// As there.
    pub fn sum_f32(&self, values: &mut [f32]) -> Result<(), RanksError> {
        self.add(values, f32::to_le_bytes, f32::from_le_bytes)
    }

    /// bytes = those of rank 0.
    ///
    /// # Errors
    /// As for [`Ranks::sum`].
    pub fn spread(&self, bytes: &mut [u8]) -> Result<(), RanksError> {
        let own = |byte: &u8| if self.leads() { f32::from(*byte) } else { 0.0 };
        let mut values: Vec<f32> = bytes.iter().map(own).collect();
        self.sum_f32(&mut values)?;
        bytes.iter_mut().zip(values).for_each(|(to, value)| *to = value as u8);
        Ok(())
    }

    fn add<T: Copy + std::ops::Add<Output = T>, const N: usize>(
        &self,
        values: &mut [T],
        encode: impl Fn(T) -> [u8; N],
        decode: impl Fn([u8; N]) -> T,
    ) -> Result<(), RanksError> {
        if self.others == 0 {
            return Ok(());
        }
        let mut links = self.links();
        let mut bytes = Vec::with_capacity(values.len() * N);
        let numbers = |bytes: &[u8]| -> Vec<T> { bytes.as_chunks().0.iter().map(|b| decode(*b)).collect() };
        if !self.leads() {
            bytes.extend(values.iter().flat_map(|value| encode(*value)));
            links.send(0, 0, Content::Sum, &bytes)?;
            let sum = numbers(&links.part(0, 0, bytes.len())?);
            values.copy_from_slice(&sum);
            return Ok(());
        }
        for rank in 1..self.size() {
            let part = links.part(rank - 1, rank, values.len() * N);
            let part = part.inspect_err(|error| links.tell_all(Content::GivenUp, error.to_string().as_bytes()))?;
            values.iter_mut().zip(numbers(&part)).for_each(|(to, x)| *to = *to + x);
        }
        bytes.extend(values.iter().flat_map(|value| encode(*value)));
        (1..self.size()).try_for_each(|rank| links.send(rank - 1, rank, Content::Sum, &bytes))
    }

    /// Rank 0 only: begins a task on all other ranks.
    ///
    /// # Errors
    /// A rank is lost.
    pub fn begin(&self, task: &[u8]) -> Result<(), RanksError> {
        let mut links = self.links();
        links.task += 1;
        (1..self.size()).try_for_each(|rank| links.send(rank - 1, rank, Content::Task, task))
    }

    /// Other ranks: waits for the next task; none when rank 0 is through. `stop` is asked several times a second.
    ///
    /// # Errors
    /// Rank 0 is lost; or this rank is to stop, which rank 0 learns when it next needs it.
    pub fn next(&self, stop: &dyn Fn() -> bool) -> Result<Option<Vec<u8>>, RanksError> {
        let mut links = self.links();
        loop {
            if stop() {
                links.tell_all(Content::Left, &[]);
                return Err(RanksError::Stopped);
            }
            if links.next.is_none() && !links.speaks()? {
                continue;
            }
            let frame = links.next.take().map_or_else(|| links.receive(0, 0), Ok)?;
            match frame.content {
                Content::Task => {
                    links.task = frame.task;
                    return Ok(Some(frame.bytes));
                }
                Content::End => return Ok(None),
                Content::Sum | Content::GivenUp | Content::Left => {}
            }
        }
    }

    /// Tells the others that this rank does not go on with the task under way. They learn it when they next wait for a sum.
    pub fn give_up(&self, why: &str) {
        let mut links = self.links();
        links.tell_all(Content::GivenUp, why.as_bytes());
    }

    /// Rank 0 only: no more tasks come. Returns when the others have heard it.
    pub fn end(&self) {
        let mut links = self.links();
        links.tell_all(Content::End, &[]);
        for stream in &mut links.streams {
            // Whoever is still sending must come to an end before it listens; errors here mean that it has.
            let _ = stream.shutdown(Shutdown::Write);
            let _ = io::copy(stream, &mut io::sink());
        }
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Links {
    fn send(&mut self, link: usize, rank: usize, content: Content, bytes: &[u8]) -> Result<(), RanksError> {
        let (task, stream) = (self.task, &mut self.streams[link]);
        frame::write(stream, task, content, bytes).map_err(|source| {
            // That it was stopped, which it said before it ended, tells more than how the connection broke.
            while let Ok(frame) = frame::read(stream) {
                if frame.content == Content::Left {
                    return RanksError::Left { rank };
                }
            }
            RanksError::Lost { rank, source }
        })
    }

    /// To every connection, whether or not it still stands.
    fn tell_all(&mut self, content: Content, bytes: &[u8]) {
        for stream in &mut self.streams {
            let _ = frame::write(stream, self.task, content, bytes);
        }
    }

    fn receive(&mut self, link: usize, rank: usize) -> Result<Frame, RanksError> {
        frame::read(&mut self.streams[link]).map_err(|source| RanksError::Lost { rank, source })
    }

    /// Other ranks: waits a moment for rank 0 to say something, or to end.
    fn speaks(&self) -> Result<bool, RanksError> {
        let stream = &self.streams[0];
        let limit = |limit| stream.set_read_timeout(limit).map_err(|source| RanksError::Lost { rank: 0, source });
        limit(Some(POLL))?;
        // What is wrong with the connection, whoever reads from it will tell.
        let speaks = !stream.peek(&mut [0]).is_err_and(|e| idle(&e));
        limit(None)?;
        Ok(speaks)
    }

    fn through(&self, rank: usize) -> RanksError {
        RanksError::Apart(format!("rank {rank} is through with task {}, on which this one still works", self.task))
    }

    /// What comes for the sum under way: so many bytes.
    fn part(&mut self, link: usize, rank: usize, length: usize) -> Result<Vec<u8>, RanksError> {
        if self.next.is_some() {
            return Err(self.through(rank));
        }
        loop {
            let frame = self.receive(link, rank)?;
            match frame.content {
                // No sum of this task comes any more; and whoever asks for the next task must get it.
                Content::Task | Content::End => {
                    self.next = Some(frame);
                    return Err(self.through(rank));
                }
                Content::Left => return Err(RanksError::Left { rank }),
                _ if frame.task != self.task => {}
                Content::Sum if frame.bytes.len() == length => return Ok(frame.bytes),
                Content::Sum => {
                    return Err(RanksError::Apart(format!(
                        "rank {rank} sums {} bytes where this one sums {length}: ranks must run one build with the same settings",
                        frame.bytes.len()
                    )));
                }
                Content::GivenUp => {
                    return Err(RanksError::GivenUp { rank, why: String::from_utf8_lossy(&frame.bytes).into_owned() });
                }
            }
        }
    }
}
