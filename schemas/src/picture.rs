//! What a value of a binary column shows, told from its first bytes: for people who look at rows.

/// A kind of picture that its first bytes give away. Raw pixels are not among them: any bytes could be those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureKind {
    /// JPEG.
    Jpeg,
    /// PNG, of any pixel format.
    Png,
}

/// What a picture's header says. The rest of it may still be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// How it is packed.
    pub kind: PictureKind,
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
}

impl PictureKind {
    /// `jpeg` or `png`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
        }
    }

    /// What a file's name ends in, without the point.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
        }
    }
}

impl Picture {
    /// The picture that `bytes` begin with; none if they begin as nothing known.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (kind, (width, height)) = if bytes.starts_with(&[0xff, 0xd8]) {
            (PictureKind::Jpeg, jpeg_header(bytes)?)
        } else {
            (PictureKind::Png, png_header(bytes)?)
        };
        Some(Self { kind, width, height })
    }
}

/// Width and height from a JPEG's frame header.
pub(crate) fn jpeg_header(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut rest = bytes.get(2..)?;
    // Segments: FF, marker, two length bytes (which count themselves), payload.
    while let [0xff, marker, high, low, payload @ ..] = rest {
        let is_frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        match payload {
            [_, h1, h0, w1, w0, ..] if is_frame => {
                let side = |high: u8, low: u8| usize::from(u16::from_be_bytes([high, low]));
                return Some((side(*w1, *w0), side(*h1, *h0)));
            }
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        rest = rest.get(2 + length.max(2)..)?;
    }
    None
}

/// Width and height from a PNG's first chunk.
fn png_header(bytes: &[u8]) -> Option<(usize, usize)> {
    if !bytes.starts_with(b"\x89PNG\r\n\x1a\n") || bytes.get(12..16)? != b"IHDR" {
        return None;
    }
    let side = |at: usize| Some(bytes.get(at..at + 4)?.iter().fold(0, |n, &x| n << 8 | usize::from(x)));
    Some((side(16)?, side(20)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Codec, FrameSpec};

    #[test]
    fn pictures_are_told_from_their_headers() {
        let spec = |codec| FrameSpec { width: 40, height: 24, codec, resize: None };
        let packed = |codec| spec(codec).encode(&vec![9; 40 * 24 * 3]).unwrap();
        for (codec, kind) in [(Codec::Jpeg { quality: 90 }, PictureKind::Jpeg), (Codec::Png, PictureKind::Png)] {
            let bytes = packed(codec);
            assert_eq!(Picture::of(&bytes), Some(Picture { kind, width: 40, height: 24 }));
            for length in 0..bytes.len().min(700) {
                // The header may be whole; what matters is that a cut one is no panic.
                let _ = Picture::of(&bytes[..length]);
            }
            assert_eq!(Picture::of(&bytes[..12]), None);
        }
        assert_eq!(Picture::of(&packed(Codec::Raw)), None);
        assert_eq!(Picture::of(b""), None);
    }
}
