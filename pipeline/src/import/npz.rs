//! Arrays of an npz archive, checked before and while they are read.
//!
//! Members are streamed: a header that promises a terabyte costs nothing until its bytes are there, and the archive's
//! checksum of a member is verified by reading it to its end.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use npyz::npz::NpzArchive;
use npyz::zip::read::ZipFile;
use npyz::{DType, NpyFile, NpyHeader, Order, TypeChar};

use super::Error;

/// One open npz file.
pub struct Archive {
    path: PathBuf,
    npz: NpzArchive<BufReader<File>>,
}

impl Archive {
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let npz = NpzArchive::new(BufReader::new(file)).map_err(|error| Error::Corrupt {
            path: path.to_owned(),
            member: "archive".into(),
            problem: format!("{error}; the file is not a complete npz (zip) archive: fetch or save it again"),
        })?;
        Ok(Archive { path: path.to_owned(), npz })
    }

    pub fn has(&self, member: &str) -> bool {
        self.npz.array_names().any(|name| name == member)
    }

    /// Opens a member for streaming.
    pub fn member(&mut self, member: &str) -> Result<Member<'_>, Error> {
        if !self.has(member) {
            let mut found: Vec<&str> = self.npz.array_names().collect();
            found.sort_unstable();
            let found = if found.is_empty() { "no arrays".to_owned() } else { found.join(", ") };
            return Err(Error::Missing { path: self.path.clone(), member: member.to_owned(), found });
        }
        let corrupt = |problem: String| Error::Corrupt { path: self.path.clone(), member: member.to_owned(), problem };
        match self.npz.by_name(member) {
            Ok(Some(file)) => Member::new(self.path.clone(), member.to_owned(), file),
            Ok(None) => Err(corrupt("it vanished while reading".into())),
            Err(error) => Err(corrupt(format!("{error}; save the array again"))),
        }
    }
}

/// One array, read front to back.
pub struct Member<'a> {
    path: PathBuf,
    name: String,
    header: NpyHeader,
    bytes: ZipFile<'a>,
}

impl<'a> Member<'a> {
    fn new(path: PathBuf, name: String, file: NpyFile<ZipFile<'a>>) -> Result<Self, Error> {
        let header = file.header().clone();
        let member = Member { path, name, header, bytes: file.into_inner() };
        if member.header.order() != Order::C {
            return Err(member.unexpected("row-major (C) order: save it with numpy.ascontiguousarray"));
        }
        Ok(member)
    }

    /// The shape, each extent checked to fit this machine.
    pub fn shape(&self) -> Result<Vec<usize>, Error> {
        let extent = |&extent: &u64| usize::try_from(extent).map_err(|_| self.unexpected("extents below 2^63"));
        self.header.shape().iter().map(extent).collect()
    }

    pub fn is_u8(&self) -> bool {
        self.is(TypeChar::Uint, 1)
    }

    pub fn is_f32(&self) -> bool {
        self.is(TypeChar::Float, 4)
    }

    fn is(&self, kind: TypeChar, size: u64) -> bool {
        let DType::Plain(kind_found) = self.header.dtype() else { return false };
        let little = size == 1 || matches!(kind_found.endianness(), npyz::Endianness::Little);
        kind_found.type_char() == kind && kind_found.size_field() == size && little
    }

    /// The error that this array is not what can be read.
    pub fn unexpected(&self, expected: &str) -> Error {
        Error::Shape {
            path: self.path.clone(),
            member: self.name.clone(),
            found: format!("{} {:?}", self.header.dtype().descr().trim_matches('\''), self.header.shape()),
            expected: expected.to_owned(),
        }
    }

    /// Fills `out` with the next bytes; `what` says which row that is.
    pub fn read(&mut self, out: &mut [u8], what: usize) -> Result<(), Error> {
        self.bytes.read_exact(out).map_err(|error| {
            let problem = match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    format!("its bytes end in row {what} of {}; fetch or save the file again", self.header.shape()[0])
                }
                _ => format!("{error} in row {what}; fetch or save the file again"),
            };
            Error::Corrupt { path: self.path.clone(), member: self.name.clone(), problem }
        })
    }

    /// Checks that nothing follows, which also verifies the archive's checksum.
    pub fn finish(mut self) -> Result<(), Error> {
        let problem = match self.bytes.read(&mut [0]) {
            Ok(0) => return Ok(()),
            Ok(_) => "it is longer than its header says; save the array again".to_owned(),
            Err(error) => format!("{error}; fetch or save the file again"),
        };
        Err(Error::Corrupt { path: self.path.clone(), member: self.name.clone(), problem })
    }

    /// Reads an f32 table of `rows` x `columns`.
    pub fn table(mut self, rows: usize, columns: usize) -> Result<Vec<f32>, Error> {
        let mut values = Vec::new();
        let mut line = vec![0u8; columns * 4];
        for row in 0..rows {
            self.read(&mut line, row)?;
            values
                .extend(line.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])));
        }
        self.finish()?;
        Ok(values)
    }
}
