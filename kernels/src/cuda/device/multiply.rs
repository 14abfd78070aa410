//! Matrix products by cuBLASLt, whose matrices are column-major: what we compute is the transpose of everything,
//! out^T[N,M] = right^T[N,K] @ left^T[K,M], for which no byte moves.
//!
//! cuBLASLt is asked for an algorithm once for each shape, alignment and epilogue; descriptions and algorithm are kept.

use super::super::linear::Epilogue;
use super::super::{Pointer, Product, Store};
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
    epilogue: Option<Extra>,
    /// Bytes to whose multiples right, left, what is added and out are aligned.
    alignment: [u32; 4],
}

/// An [`Epilogue`] without its addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Extra {
    Bias,
    Gelu,
    Residual,
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

/// Where the epilogue reads its bias, and leaves what came before GELU.
fn point(operation: sys::cublasLtMatmulDesc_t, bias: Option<Pointer>, pre: Option<Pointer>) -> Result<(), CublasError> {
    if let Some(bias) = bias {
        set(operation, Of::CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias)?;
    }
    if let Some(pre) = pre {
        set(operation, Of::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, pre)?;
    }
    Ok(())
}

/// The epilogue without its addresses, where it leaves what came before GELU, and what is added to the product.
fn parts(p: &Product, epilogue: Option<(Pointer, Epilogue)>) -> (Option<Extra>, Option<Pointer>, Pointer) {
    match epilogue {
        None => (None, None, p.out),
        Some((_, Epilogue::Bias)) => (Some(Extra::Bias), None, p.out),
        Some((_, Epilogue::Gelu { pre })) => (Some(Extra::Gelu), Some(pre), p.out),
        Some((_, Epilogue::Residual { skip })) => (Some(Extra::Residual), None, skip),
    }
}

impl Multiplier {
    /// `workspace` is [`WORKSPACE`] bytes on the device.
    pub fn new(workspace: Pointer) -> Result<Self, CublasError> {
        Ok(Multiplier { handle: result::create_handle()?, workspace, plans: HashMap::new() })
    }

    /// Whether there is an algorithm for this product and its epilogue.
    pub fn fuses(&mut self, p: &Product, bias: Pointer, epilogue: Epilogue) -> Result<bool, CublasError> {
        Ok(self.plan(p, Some((bias, epilogue)))?.is_some())
    }

    /// How to do a product; none if cuBLASLt has no algorithm for it.
    fn plan(&mut self, p: &Product, epilogue: Option<(Pointer, Epilogue)>) -> Result<Option<&Plan>, CublasError> {
        let (extra, pre, added) = parts(p, epilogue);
        let key = Key {
            m: p.m,
            k: p.k,
            n: p.n,
            transposed: [p.right.transposed, p.left.transposed],
            store: p.store,
            accumulate: p.accumulate,
            epilogue: extra,
            alignment: [p.right.at, p.left.at, added, p.out].map(alignment),
        };
        let plan = match self.plans.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Plan::make(self.handle, key, epilogue.map(|(bias, _)| bias), pre)?),
        };
        Ok(plan.as_ref())
    }

    /// Queues a product; false, and nothing is queued, if cuBLASLt has no algorithm for it. `epilogue` comes with the bf16 bias [N].
    ///
    /// # Safety
    /// The context of `stream` is current, and every address is of as much device memory as the product says.
    pub unsafe fn multiply(
        &mut self,
        p: &Product,
        epilogue: Option<(Pointer, Epilogue)>,
        stream: sys::cudaStream_t,
    ) -> Result<bool, CublasError> {
        let (handle, workspace) = (self.handle, self.workspace);
        let (extra, pre, added) = parts(p, epilogue);
        let Some(plan) = self.plan(p, epilogue)? else { return Ok(false) };
        point(plan.operation, epilogue.map(|(bias, _)| bias), pre)?;
        let plus = if p.accumulate || extra == Some(Extra::Residual) { 1.0f32 } else { 0.0 };
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
                at(added),
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
    fn make(
        handle: sys::cublasLtHandle_t,
        key: Key,
        bias: Option<Pointer>,
        pre: Option<Pointer>,
    ) -> Result<Option<Plan>, CublasError> {
        let Key { m, k, n, transposed: [right, left], .. } = key;
        // What GELU leaves for the backward pass has rows of whole 16 bytes.
        if key.epilogue == Some(Extra::Gelu) && !n.is_multiple_of(8) {
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
        let kind = match key.epilogue {
            None => Kind::CUBLASLT_EPILOGUE_DEFAULT,
            Some(Extra::Bias | Extra::Residual) => Kind::CUBLASLT_EPILOGUE_BIAS,
            Some(Extra::Gelu) => Kind::CUBLASLT_EPILOGUE_GELU_AUX_BIAS,
        };
        set(operation, Of::CUBLASLT_MATMUL_DESC_EPILOGUE, kind)?;
        if key.epilogue == Some(Extra::Gelu) {
            set(operation, Of::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, n as i64)?;
        }
        point(operation, bias, pre)?;
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
            Err(error) => Err(error),
        }
    }
}
