//! What a value of a binary column shows, told from its first bytes: for people who look at rows.

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::fast_frame;
use crate::frame::{Codec, FrameSpec};

/// A kind of picture that its first bytes give away. Raw pixels are not among them: any bytes could be those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureKind {
    /// JPEG.
    Jpeg,
    /// PNG, of any pixel format.
    Png,
    /// The codec `fast` of this crate.
    Fast,
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
    /// `jpeg`, `png` or `fast`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Fast => "fast",
        }
    }

    /// What the name of a [viewable](Picture::viewable) file ends in, without the point.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png | Self::Fast => "png",
        }
    }
}

impl Picture {
    /// The picture that `bytes` begin with; none if they begin as nothing known.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (kind, (width, height)) = if bytes.starts_with(&[0xff, 0xd8]) {
            (PictureKind::Jpeg, jpeg_header(bytes)?)
        } else if let Some(size) = fast_frame::size(bytes) {
            (PictureKind::Fast, size)
        } else {
            (PictureKind::Png, png_header(bytes)?)
        };
        Some(Self { kind, width, height })
    }

    /// `bytes`, which begin with this picture, as a file that viewers know: themselves, or a PNG where no viewer knows them.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for bytes that must be decoded and are damaged.
    pub fn viewable(self, bytes: &[u8]) -> Result<Cow<'_, [u8]>> {
        if self.kind != PictureKind::Fast {
            return Ok(Cow::Borrowed(bytes));
        }
        let side = |side: usize| u16::try_from(side).map_err(|_| Error::invalid("image", format!("a side of {side}")));
        let fast = FrameSpec { width: side(self.width)?, height: side(self.height)?, codec: Codec::Fast, resize: None };
        fast.check_spec()?;
        // A header may claim any size: what it takes to decode is asked for once the rest bears it out.
        fast.check(bytes)?;
        let mut rgb = vec![0; fast.bytes()];
        fast.decode_into(bytes, &mut rgb)?;
        Ok(Cow::Owned(FrameSpec { codec: Codec::Png, ..fast }.encode(&rgb)?))
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

    #[test]
    fn pictures_are_told_from_their_headers() {
        let spec = |codec| FrameSpec { width: 40, height: 24, codec, resize: None };
        let packed = |codec| spec(codec).encode(&vec![9; 40 * 24 * 3]).unwrap();
        let kinds = [
            (Codec::Jpeg { quality: 90 }, PictureKind::Jpeg),
            (Codec::Png, PictureKind::Png),
            (Codec::Fast, PictureKind::Fast),
        ];
        for (codec, kind) in kinds {
            let bytes = packed(codec);
            assert_eq!(Picture::of(&bytes), Some(Picture { kind, width: 40, height: 24 }));
            for length in 0..bytes.len().min(700) {
                // The header may be whole; what matters is that a cut one is no panic.
                let _ = Picture::of(&bytes[..length]);
            }
            assert_eq!(Picture::of(&bytes[..7]), None);
        }
        assert_eq!(Picture::of(&packed(Codec::Raw)), None);
        assert_eq!(Picture::of(b""), None);
    }

    #[test]
    fn what_no_viewer_knows_becomes_a_png() {
        let fast = FrameSpec { width: 40, height: 24, codec: Codec::Fast, resize: None };
        let rgb: Vec<u8> = (0..fast.bytes()).map(|i| (i * 7 % 251) as u8).collect();
        let bytes = fast.encode(&rgb).unwrap();
        let file = Picture::of(&bytes).unwrap().viewable(&bytes).unwrap();
        assert_eq!(Picture::of(&file).unwrap().kind, PictureKind::Png);
        let mut read = vec![0; rgb.len()];
        FrameSpec { codec: Codec::Png, ..fast.clone() }.decode_into(&file, &mut read).unwrap();
        assert_eq!(read, rgb);
        assert_eq!(Picture::of(&file).unwrap().viewable(&file).unwrap(), file);
        assert!(Picture::of(&bytes).unwrap().viewable(&bytes[..bytes.len() - 1]).is_err());
        // A size that nothing bears out: an error, and not gigabytes.
        let huge = [b"PHF1".as_slice(), &[255; 4], &[0; 90]].concat();
        assert!(Picture::of(&huge).unwrap().viewable(&huge).is_err());
    }
}
