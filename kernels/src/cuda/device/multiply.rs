//! Matrix products by cuBLASLt, whose matrices are column-major: what we compute is the transpose of everything,
//! out^T[N,M] = right^T[N,K] @ left^T[K,M], for which no byte moves.
//!
//! cuBLASLt is asked for an algorithm once for each shape, alignment and epilogue; descriptions and algorithm are kept.
//!
//! Epilogues see out^T, column by column, which is out row by row: a bias [N] runs along its columns, and what GELU read or reads
//! (`pre`, cuBLASLt's auxiliary matrix) lies as `out` does, N apart, of the type of `out`. With DGELU the product is multiplied by the
//! slope before it is rounded.
//!
//! Bias gradients are left to our own kernel. DGELU_BGRAD would store the one of the layer before as what `out` is, in bf16. BGRADA, which
//! sums dy over the rows for which dw = x^T @ dy is summed anyway (dy is the first matrix of dw^T = dy^T @ x), would store f32, as dw is;
//! but it writes where gradients accumulate, so a kernel would follow all the same, and NVIDIA promises no algorithm that both does it and
//! cuts a long sum among many blocks. The encoder's first dw are one tile of output each, of half a million rows.

use super::super::linear::Epilogue;
use super::super::{Fused, Pointer, Product, Store};
use cudarc::cublaslt::{result, result::CublasError, sys};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use sys::cublasLtEpilogue_t as Kind;
use sys::cublasLtMatmulDescAttributes_t as Of;
use sys::cublasLtMatmulPreferenceAttributes_t as Wish;

/// Bytes of workspace: what NVIDIA advises for Hopper, and more than older architectures need.
pub const WORKSPACE: usize = 32 << 20;

/// What an algorithm depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    m: usize,
    k: usize,
    n: usize,
    transposed: [bool; 2],
    store: Store,
    accumulate: bool,
    extra: Option<Extra>,
    /// Bytes to whose multiples right, left, what is added and out are aligned; then bias and `pre`.
    alignment: [u32; 6],
}

/// What is [`Fused`], without its addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Extra {
    Bias,
    Gelu,
    Residual,
    GeluBackward,
}

/// What cuBLASLt is told of [`Fused`].
#[derive(Clone, Copy)]
struct Told {
    extra: Option<Extra>,
    bias: Option<Pointer>,
    pre: Option<Pointer>,
    /// What is added to the product, or `out` where nothing is.
    added: Pointer,
}

/// How to multiply: cuBLASLt's descriptions and its choice.
struct Plan {
    operation: sys::cublasLtMatmulDesc_t,
    right: sys::cublasLtMatrixLayout_t,
    left: sys::cublasLtMatrixLayout_t,
    out: sys::cublasLtMatrixLayout_t,
    algorithm: sys::cublasLtMatmulAlgo_t,
}

/// cuBLASLt with what it has been asked so far.
pub struct Multiplier {
    handle: sys::cublasLtHandle_t,
    workspace: Pointer,
    /// None: there is no algorithm.
    plans: HashMap<Key, Option<Plan>>,
}

/// The largest power of two up to 256 that divides an address.
fn alignment(at: Pointer) -> u32 {
    1 << at.trailing_zeros().min(8)
}

/// Sets an attribute of an operation to a plain value.
fn set<T>(operation: sys::cublasLtMatmulDesc_t, of: Of, value: T) -> Result<(), CublasError> {
    // SAFETY: the operation lives; cuBLASLt copies so many bytes of a live value, and checks their number.
    unsafe { result::set_matmul_desc_attribute(operation, of, (&raw const value).cast(), size_of::<T>()) }
}

/// Where the epilogue reads its bias, and leaves or reads what came before GELU.
fn point(operation: sys::cublasLtMatmulDesc_t, told: Told) -> Result<(), CublasError> {
    if let Some(bias) = told.bias {
        set(operation, Of::CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias)?;
    }
    if let Some(pre) = told.pre {
        set(operation, Of::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, pre)?;
    }
    Ok(())
}

fn tell(p: &Product, fused: Option<Fused>) -> Told {
    let plain = Told { extra: None, bias: None, pre: None, added: p.out };
    match fused {
        None => plain,
        Some(Fused::Forward { bias, epilogue }) => {
            let plain = Told { bias: Some(bias), ..plain };
            match epilogue {
                Epilogue::Bias => Told { extra: Some(Extra::Bias), ..plain },
                Epilogue::Gelu { pre } => Told { extra: Some(Extra::Gelu), pre: Some(pre), ..plain },
                Epilogue::Residual { skip } => Told { extra: Some(Extra::Residual), added: skip, ..plain },
            }
        }
        Some(Fused::GeluBackward { pre }) => Told { extra: Some(Extra::GeluBackward), pre: Some(pre), ..plain },
    }
}

impl Multiplier {
    /// `workspace` is [`WORKSPACE`] bytes on the device.
    pub fn new(workspace: Pointer) -> Result<Self, CublasError> {
        Ok(Multiplier { handle: result::create_handle()?, workspace, plans: HashMap::new() })
    }

    /// Whether there is an algorithm for this product and what follows it.
    pub fn fuses(&mut self, p: &Product, with: Fused) -> Result<bool, CublasError> {
        Ok(self.plan(p, tell(p, Some(with)))?.is_some())
    }

    /// How to do a product; none if cuBLASLt has no algorithm for it.
    fn plan(&mut self, p: &Product, told: Told) -> Result<Option<&Plan>, CublasError> {
        let key = Key {
            m: p.m,
            k: p.k,
            n: p.n,
            transposed: [p.right.transposed, p.left.transposed],
            store: p.store,
            accumulate: p.accumulate,
            extra: told.extra,
            alignment: [p.right.at, p.left.at, told.added, p.out, told.bias.unwrap_or(0), told.pre.unwrap_or(0)]
                .map(alignment),
        };
        let plan = match self.plans.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Plan::make(self.handle, key, told)?),
        };
        Ok(plan.as_ref())
    }

    /// Queues a product; false, and nothing is queued, if cuBLASLt has no algorithm for it.
    ///
    /// # Safety
    /// The context of `stream` is current, and every address is of as much device memory as the product says.
    pub unsafe fn multiply(
        &mut self,
        p: &Product,
        fused: Option<Fused>,
        stream: sys::cudaStream_t,
    ) -> Result<bool, CublasError> {
        let (handle, workspace, told) = (self.handle, self.workspace, tell(p, fused));
        let Some(plan) = self.plan(p, told)? else { return Ok(false) };
        point(plan.operation, told)?;
        let plus = if p.accumulate || told.extra == Some(Extra::Residual) { 1.0f32 } else { 0.0 };
        let times = 1.0f32;
        let at = |pointer: Pointer| pointer as *const c_void;
        // SAFETY: the plan's descriptions live as long as `self`; the factors are read before the call returns; the caller answers for
        // the addresses.
        unsafe {
            result::matmul(
                handle,
                plan.operation,
                (&raw const times).cast(),
                (&raw const plus).cast(),
                at(p.right.at),
                plan.right,
                at(p.left.at),
                plan.left,
                at(told.added),
                plan.out,
                p.out as *mut c_void,
                plan.out,
                &raw const plan.algorithm,
                workspace as *mut c_void,
                WORKSPACE,
                stream,
            )?;
        }
        Ok(true)
    }
}

impl Drop for Multiplier {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once; the plans' small descriptions are left to the end of the process.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

impl Plan {
    /// None if cuBLASLt has no algorithm. It may refuse an epilogue whose addresses it does not know yet.
    fn make(handle: sys::cublasLtHandle_t, key: Key, told: Told) -> Result<Option<Plan>, CublasError> {
        let Key { m, k, n, transposed: [right, left], .. } = key;
        // What came before GELU lies at 16 bytes, and so do its rows.
        if told.pre.is_some_and(|pre| !pre.is_multiple_of(16) || !n.is_multiple_of(8)) {
            return Ok(None);
        }
        let half = sys::cudaDataType_t::CUDA_R_16BF;
        let out = match key.store {
            Store::Bf16 => half,
            Store::F32 => sys::cudaDataType_t::CUDA_R_32F,
        };
        // A row-major [rows, cols] is a column-major [cols, rows].
        let layout =
            |kind, rows: usize, cols: usize| result::create_matrix_layout(kind, cols as u64, rows as u64, cols as i64);
        let operation =
            result::create_matmul_desc(sys::cublasComputeType_t::CUBLAS_COMPUTE_32F, sys::cudaDataType_t::CUDA_R_32F)?;
        set(operation, Of::CUBLASLT_MATMUL_DESC_TRANSA, i32::from(right))?;
        set(operation, Of::CUBLASLT_MATMUL_DESC_TRANSB, i32::from(left))?;
        let kind = match key.extra {
            None => Kind::CUBLASLT_EPILOGUE_DEFAULT,
            Some(Extra::Bias | Extra::Residual) => Kind::CUBLASLT_EPILOGUE_BIAS,
            Some(Extra::Gelu) => Kind::CUBLASLT_EPILOGUE_GELU_AUX_BIAS,
            Some(Extra::GeluBackward) => Kind::CUBLASLT_EPILOGUE_DGELU,
        };
        set(operation, Of::CUBLASLT_MATMUL_DESC_EPILOGUE, kind)?;
        if told.pre.is_some() {
            set(operation, Of::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, n as i64)?;
        }
        point(operation, told)?;
        let wishes = result::create_matmul_pref()?;
        let wish = |of, value: &[u8]| {
            // SAFETY: `wishes` lives; cuBLASLt copies so many bytes of a live value, and checks their number.
            unsafe { result::set_matmul_pref_attribute(wishes, of, value.as_ptr().cast(), value.len()) }
        };
        wish(Wish::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &WORKSPACE.to_ne_bytes())?;
        let aligned = [
            Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
        ];
        for (of, bytes) in aligned.into_iter().zip(key.alignment) {
            wish(of, &bytes.to_ne_bytes())?;
        }
        let right = if right { layout(half, n, k) } else { layout(half, k, n) }?;
        let left = if left { layout(half, k, m) } else { layout(half, m, k) }?;
        let out = layout(out, m, n)?;
        // SAFETY: all descriptions were made above.
        let found = unsafe {
            let found = result::get_matmul_algo_heuristic(handle, operation, right, left, out, out, wishes);
            result::destroy_matmul_pref(wishes)?;
            found
        };
        match found {
            Ok(found) => Ok(Some(Plan { operation, right, left, out, algorithm: found.algo })),
            Err(CublasError(sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED)) => Ok(None),
            // What an epilogue never goes together with may be called invalid. A plain product that is invalid is our fault.
            Err(CublasError(sys::cublasStatus_t::CUBLAS_STATUS_INVALID_VALUE)) if key.extra.is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
