//! What goes over a connection: content (1 byte), task (u32), length (u64), bytes; little-endian.

use std::io::{self, Read, Write};

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Numbers to be added, or their sum.
    Sum,
    /// The sender does not go on with the task; the reason in UTF-8.
    GivenUp,
    /// The next task.
    Task,
    /// No more tasks come.
    End,
    /// The sender was stopped and does nothing any more, whatever the task.
    Left,
}

const CONTENTS: [(u8, Content); 5] = [
    (b's', Content::Sum),
    (b'g', Content::GivenUp),
    (b't', Content::Task),
    (b'e', Content::End),
    (b'l', Content::Left),
];

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// Number of the task it belongs to.
    pub task: u32,
    /// What it is.
    pub content: Content,
    /// Its payload.
    pub bytes: Vec<u8>,
}

/// Bytes before the payload.
const HEAD: usize = 13;

/// Sends a frame.
pub fn write(to: &mut impl Write, task: u32, content: Content, bytes: &[u8]) -> io::Result<()> {
    let code = CONTENTS.iter().find(|(_, c)| *c == content).map_or(0, |(code, _)| *code);
    let mut head = Vec::with_capacity(HEAD);
    head.push(code);
    head.extend(task.to_le_bytes());
    head.extend((bytes.len() as u64).to_le_bytes());
    to.write_all(&head)?;
    to.write_all(bytes)?;
    to.flush()
}

/// Waits for a frame.
pub fn read(from: &mut impl Read) -> io::Result<Frame> {
    let mut head = [0; HEAD];
    from.read_exact(&mut head).map_err(closed)?;
    let [code, a, b, c, d, length @ ..] = head;
    let strange = || io::Error::new(io::ErrorKind::InvalidData, "it does not speak this program's language");
    let content = CONTENTS.iter().find(|(known, _)| *known == code).map(|(_, content)| *content);
    let content = content.ok_or_else(strange)?;
    let length = u64::from_le_bytes(length);
    let mut bytes = Vec::new();
    // Grows as bytes come: a length is not to be trusted with memory.
    from.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(closed(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(Frame { task: u32::from_le_bytes([a, b, c, d]), content, bytes })
}

/// The standard library's words for the end of a stream are about a buffer.
fn closed(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "it has ended"),
        _ => error,
    }
}
