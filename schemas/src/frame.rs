//! Frame specs and codecs: what an image of a dataset is, and how its bytes are packed.
//!
//! In memory a frame is RGB, one byte a channel, row-major `[height, width, 3]`. All frames of a dataset have one size
//! and one codec, and both stand in every file's footer.

use std::io::Cursor;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use serde::{Deserialize, Serialize};
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::error::{Error, Result};
use crate::fast_frame;
use crate::picture::jpeg_header;

/// How a frame's bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Codec {
    /// Baseline JPEG. Lossy, small, fast. Chroma is halved in both directions (4:2:0), which also halves the time to decode.
    Jpeg {
        /// 1 (worst) to 100 (best).
        quality: u8,
    },
    /// PNG, 8-bit RGB, without loss.
    Png,
    /// Our own, without loss: half the size of the RGB bytes, and decoded several times as fast as JPEG. For training sets.
    Fast,
    /// The RGB bytes themselves.
    Raw,
}

/// Size, codec and history of a dataset's frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameSpec {
    /// Pixels across.
    pub width: u16,
    /// Pixels down.
    pub height: u16,
    /// How the bytes are packed.
    pub codec: Codec,
    /// The filter (and the version of the library) that brought a source's images to this size; none where they are
    /// native. Two filters give two datasets: an agent trained on one sees another world through the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<String>,
}

impl Default for FrameSpec {
    /// 128 x 128, JPEG at quality 90.
    fn default() -> Self {
        Self { width: 128, height: 128, codec: Codec::Jpeg { quality: 90 }, resize: None }
    }
}

/// What is wrong with a PNG of another kind.
const NOT_RGB: &str = "the PNG is not 8-bit RGB; convert it on import";

/// The largest side that is accepted: keeps a damaged header from asking for gigabytes.
const MAX_SIDE: u16 = 8192;

impl FrameSpec {
    /// Bytes of a decoded frame: `height * width * 3`.
    pub fn bytes(&self) -> usize {
        usize::from(self.width) * usize::from(self.height) * 3
    }

    /// Checks the spec itself.
    ///
    /// # Errors
    /// A side of 0 or above 8192, a JPEG quality outside 1..=100.
    pub fn check_spec(&self) -> Result<()> {
        let sides = [("width", self.width), ("height", self.height)];
        if let Some((name, side)) = sides.into_iter().find(|(_, side)| *side == 0 || *side > MAX_SIDE) {
            return Err(Error::invalid("frame spec", format!("{name} {side} is outside 1..={MAX_SIDE}")));
        }
        match self.codec {
            Codec::Jpeg { quality } if !(1..=100).contains(&quality) => {
                Err(Error::invalid("frame spec", format!("JPEG quality {quality} is outside 1..=100")))
            }
            _ => Ok(()),
        }
    }

    /// Packs `rgb`, `[height, width, 3]`. The same pixels give the same bytes on every x86-64.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `rgb` has another length.
    pub fn encode(&self, rgb: &[u8]) -> Result<Vec<u8>> {
        self.expect_length("image to encode", rgb.len())?;
        let internal = |e: &dyn std::fmt::Display| Error::Internal(format!("encoding a frame: {e}"));
        match self.codec {
            Codec::Raw => Ok(rgb.to_vec()),
            Codec::Fast => Ok(fast_frame::encode(self.width, self.height, rgb)),
            Codec::Jpeg { quality } => {
                let mut bytes = Vec::with_capacity(self.bytes() / 8);
                let mut encoder = Encoder::new(&mut bytes, quality);
                encoder.set_sampling_factor(SamplingFactor::F_2_2);
                encoder.encode(rgb, self.width, self.height, ColorType::Rgb).map_err(|e| internal(&e))?;
                Ok(bytes)
            }
            Codec::Png => {
                let mut bytes = Vec::with_capacity(self.bytes() / 2);
                let mut encoder = png::Encoder::new(&mut bytes, u32::from(self.width), u32::from(self.height));
                encoder.set_color(png::ColorType::Rgb);
                encoder.set_depth(png::BitDepth::Eight);
                // Ten times the default's speed for a somewhat larger file: recording waits for this.
                encoder.set_compression(png::Compression::Fast);
                let mut writer = encoder.write_header().map_err(|e| internal(&e))?;
                writer.write_image_data(rgb).map_err(|e| internal(&e))?;
                writer.finish().map_err(|e| internal(&e))?;
                Ok(bytes)
            }
        }
    }

    /// Unpacks an image into `out`, `[height, width, 3]`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the bytes are damaged, of another codec or size, or `out` has another length. `out` may
    /// then hold part of the image.
    pub fn decode_into(&self, bytes: &[u8], out: &mut [u8]) -> Result<()> {
        self.expect_length("output buffer", out.len())?;
        match self.codec {
            Codec::Raw => {
                self.expect_length("raw image", bytes.len())?;
                out.copy_from_slice(bytes);
                Ok(())
            }
            Codec::Fast => {
                fast_frame::size(bytes).map_or(Ok(()), |(width, height)| self.expect_size(width, height))?;
                fast_frame::decode(bytes, self.width.into(), self.height.into(), out)
            }
            Codec::Jpeg { .. } => self.decode_jpeg(bytes, out),
            Codec::Png => self.decode_png(bytes, out),
        }
    }

    /// Looks at an image's header and end, without unpacking it: codec, size, a PNG's pixel format, and that nothing is
    /// cut off.
    ///
    /// # Errors
    /// [`Error::Invalid`] saying what was found instead.
    pub fn check(&self, bytes: &[u8]) -> Result<()> {
        let (width, height) = match self.codec {
            Codec::Raw => return self.expect_length("raw image", bytes.len()),
            Codec::Fast => fast_frame::check(bytes)?,
            Codec::Jpeg { .. } => jpeg_size(bytes)?,
            Codec::Png => png_size(bytes)?,
        };
        self.expect_size(width, height)
    }

    /// Checks an image of codec `fast` for one who unpacks it elsewhere: what passes is whole, and every byte as it was written.
    ///
    /// # Errors
    /// Those of [`decode_into`](Self::decode_into), in the same words; and [`Error::Invalid`] if frames are of another codec.
    pub fn verify_packed(&self, bytes: &[u8]) -> Result<()> {
        if self.codec != Codec::Fast {
            return Err(Error::invalid("frame spec", "only images of codec `fast` are unpacked elsewhere"));
        }
        fast_frame::size(bytes).map_or(Ok(()), |(width, height)| self.expect_size(width, height))?;
        fast_frame::verify(bytes, self.width.into(), self.height.into())
    }

    /// Bytes of the largest image of codec `fast` and of this size.
    pub fn largest_packed(&self) -> usize {
        fast_frame::largest(self.width.into(), self.height.into())
    }

    fn decode_jpeg(&self, bytes: &[u8], out: &mut [u8]) -> Result<()> {
        let damaged = |e: &dyn std::fmt::Display| Error::invalid("image", format!("not a readable JPEG: {e}"));
        let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB).set_strict_mode(true);
        let mut decoder = JpegDecoder::new_with_options(Cursor::new(bytes), options);
        decoder.decode_headers().map_err(|e| damaged(&e))?;
        let (width, height) = decoder.dimensions().unwrap_or((0, 0));
        self.expect_size(width, height)?;
        decoder.decode_into(out).map_err(|e| damaged(&e))
    }

    fn decode_png(&self, bytes: &[u8], out: &mut [u8]) -> Result<()> {
        let damaged = |e: &dyn std::fmt::Display| Error::invalid("image", format!("not a readable PNG: {e}"));
        let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info().map_err(|e| damaged(&e))?;
        let (width, height) = reader.info().size();
        self.expect_size(width as usize, height as usize)?;
        if reader.output_color_type() != (png::ColorType::Rgb, png::BitDepth::Eight) {
            return Err(Error::invalid("image", NOT_RGB));
        }
        reader.next_frame(out).map_err(|e| damaged(&e))?;
        Ok(())
    }

    fn expect_length(&self, what: &str, length: usize) -> Result<()> {
        if length == self.bytes() {
            return Ok(());
        }
        let (w, h) = (self.width, self.height);
        Err(Error::invalid(what, format!("{length} bytes, but {w}x{h} RGB has {}", self.bytes())))
    }

    fn expect_size(&self, width: usize, height: usize) -> Result<()> {
        if (width, height) == (usize::from(self.width), usize::from(self.height)) {
            return Ok(());
        }
        let (w, h) = (self.width, self.height);
        Err(Error::invalid("image", format!("{width}x{height}, but the frame spec says {w}x{h}; resize it on import")))
    }
}

/// Width and height from a JPEG's frame header, once its end marker is seen to be there.
fn jpeg_size(bytes: &[u8]) -> Result<(usize, usize)> {
    let fault = |reason: &str| Err(Error::invalid("image", format!("not a complete JPEG: {reason}")));
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return fault("it does not start with FF D8");
    }
    if !bytes.ends_with(&[0xff, 0xd9]) {
        return fault("it does not end with FF D9, so it was cut off");
    }
    jpeg_header(bytes).map_or_else(|| fault("it has no frame header"), Ok)
}

/// Width and height from a PNG's first chunk, once its end chunk is seen to be there.
fn png_size(bytes: &[u8]) -> Result<(usize, usize)> {
    let fault = |reason: &str| Err(Error::invalid("image", format!("not a complete PNG: {reason}")));
    if !bytes.starts_with(b"\x89PNG\r\n\x1a\n") || bytes.get(12..16) != Some(b"IHDR".as_slice()) {
        return fault("the signature or the IHDR chunk is missing");
    }
    if !bytes.ends_with(b"IEND\xae\x42\x60\x82") {
        return fault("it does not end with the IEND chunk, so it was cut off");
    }
    let side = |at: usize| bytes.get(at..at + 4).map(|b| b.iter().fold(0, |n, &x| n << 8 | usize::from(x)));
    match (side(16), side(20), bytes.get(24..26)) {
        // Bit depth 8, colour type 2. What `decode_into` refuses must not be stored.
        (Some(width), Some(height), Some([8, 2])) => Ok((width, height)),
        (Some(_), Some(_), Some(_)) => Err(Error::invalid("image", NOT_RGB)),
        _ => fault("the IHDR chunk is cut off"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(codec: Codec) -> FrameSpec {
        FrameSpec { width: 40, height: 24, codec, resize: None }
    }

    /// A smooth picture that depends on the seed.
    fn picture(spec: &FrameSpec, seed: u32) -> Vec<u8> {
        let (w, h) = (u32::from(spec.width), u32::from(spec.height));
        (0..w * h * 3).map(|i| ((i / 3 % w * 4 + i / 3 / w * 3 + i % 3 * 40 + seed) % 256) as u8).collect()
    }

    const CODECS: [Codec; 5] =
        [Codec::Jpeg { quality: 90 }, Codec::Jpeg { quality: 60 }, Codec::Png, Codec::Fast, Codec::Raw];

    #[test]
    fn codecs_round_trip() {
        for codec in CODECS {
            let spec = spec(codec);
            let rgb: Vec<u8> = (0..spec.bytes()).map(|i| (i / 3 % 40 * 5) as u8).collect();
            let packed = spec.encode(&rgb).unwrap();
            spec.check(&packed).unwrap();
            let mut out = vec![0; spec.bytes()];
            spec.decode_into(&packed, &mut out).unwrap();
            let worst = rgb.iter().zip(&out).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(worst <= if matches!(codec, Codec::Jpeg { .. }) { 24 } else { 0 }, "{codec:?}: off by {worst}");
            assert_eq!(packed, spec.encode(&rgb).unwrap());
        }
    }

    #[test]
    fn another_size_or_codec_is_refused_by_check_and_decode() {
        for codec in CODECS {
            let right = spec(codec);
            let wrong = FrameSpec { width: 24, height: 24, ..right.clone() };
            let packed = wrong.encode(&vec![9; wrong.bytes()]).unwrap();
            assert!(right.check(&packed).is_err(), "{codec:?}");
            assert!(right.decode_into(&packed, &mut vec![0; right.bytes()]).is_err(), "{codec:?}");
        }
        let png = spec(Codec::Png).encode(&vec![9; 40 * 24 * 3]).unwrap();
        assert!(spec(CODECS[0]).check(&png).unwrap_err().to_string().contains("FF D8"));
    }

    #[test]
    fn a_png_that_no_reader_decodes_is_refused_by_check() {
        let spec = spec(Codec::Png);
        use png::{BitDepth, ColorType};
        for (color, depth, bytes) in [
            (ColorType::Rgba, BitDepth::Eight, 4),
            (ColorType::Grayscale, BitDepth::Eight, 1),
            (ColorType::Rgb, BitDepth::Sixteen, 6),
        ] {
            let mut packed = Vec::new();
            let mut encoder = png::Encoder::new(&mut packed, 40, 24);
            encoder.set_color(color);
            encoder.set_depth(depth);
            let mut writer = encoder.write_header().unwrap();
            writer.write_image_data(&vec![7; 40 * 24 * bytes]).unwrap();
            writer.finish().unwrap();
            assert!(spec.decode_into(&packed, &mut vec![0; spec.bytes()]).is_err());
            let error = spec.check(&packed).unwrap_err().to_string();
            assert!(error.contains("not 8-bit RGB"), "{color:?} {depth:?}: {error}");
        }
    }

    #[test]
    fn a_cut_image_is_an_error_at_every_length() {
        for codec in CODECS {
            let spec = spec(codec);
            let packed = spec.encode(&picture(&spec, 3)).unwrap();
            let mut out = vec![0; spec.bytes()];
            for length in 0..packed.len() {
                assert!(spec.check(&packed[..length]).is_err(), "{codec:?} cut to {length}");
                // A JPEG without its end marker is decoded by some readers; here it only must not panic.
                let _ = spec.decode_into(&packed[..length], &mut out);
            }
        }
    }

    #[test]
    fn broken_specs_are_refused() {
        assert!(FrameSpec { width: 0, ..FrameSpec::default() }.check_spec().is_err());
        assert!(FrameSpec { height: 9000, ..FrameSpec::default() }.check_spec().is_err());
        assert!(spec(Codec::Jpeg { quality: 0 }).check_spec().is_err());
        FrameSpec::default().check_spec().unwrap();
    }

    proptest! {
        #[test]
        fn lossless_codecs_keep_every_byte(seed in any::<u32>(), flips in proptest::collection::vec((0usize..2880, any::<u8>()), 0..40)) {
            for codec in [Codec::Png, Codec::Fast, Codec::Raw] {
                let spec = spec(codec);
                let mut rgb = picture(&spec, seed % 256);
                for (at, value) in &flips {
                    rgb[*at] = *value;
                }
                let mut out = vec![0; spec.bytes()];
                spec.decode_into(&spec.encode(&rgb).unwrap(), &mut out).unwrap();
                prop_assert_eq!(&out, &rgb);
            }
        }

        #[test]
        fn damaged_bytes_never_panic(at in 0usize..600, value in any::<u8>(), junk in proptest::collection::vec(any::<u8>(), 0..300)) {
            for codec in CODECS {
                let spec = spec(codec);
                let mut packed = spec.encode(&picture(&spec, 1)).unwrap();
                let index = at % packed.len();
                packed[index] = value;
                let mut out = vec![0; spec.bytes()];
                let _ = spec.check(&packed);
                let _ = spec.decode_into(&packed, &mut out);
                let _ = spec.check(&junk);
                let _ = spec.decode_into(&junk, &mut out);
            }
        }
    }
}
