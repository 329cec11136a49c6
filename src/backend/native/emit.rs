//! From a plan to functions in a Cranelift module.
//!
//! Kernel 3 of the plan `Net_loss`, a product, becomes the local function `Net_loss_3_gemm`; the
//! product tiles it calls are `Net_loss_tile_4x2_1` and so on, made once a plan; `Net_loss` itself is the
//! entry point. What each kind of kernel looks like inside is in the file of that name.

use std::collections::{HashMap, HashSet};

use cranelift_codegen::ir::{AbiParam, Function, InstBuilder, UserFuncName, types};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{FuncId, Linkage, Module, ModuleError};
use thiserror::Error;

use super::code::{Code, Types};
use super::context::Slots;
use super::share::{Division, Share, divisions};
use super::tile::{self, Shape};
use super::tiling::Tiling;
use super::wide::{self, Width};
use super::{clock, combine, entry, gemm, outer, pack, random, rows, scatter};
use crate::plan::places::{Access, places};
use crate::plan::verify::verify;
use crate::plan::{BufferId, Kernel, Plan, Precision, Work};

/// Why a plan became no code.
#[derive(Debug, Error)]
pub enum EmitError {
    /// The plan contradicts itself.
    #[error("the plan cannot be compiled: {0}")]
    Plan(String),
    /// Cranelift refuses a function, or the target is unknown.
    #[error("code generation failed: {0}")]
    Codegen(String),
}

impl From<ModuleError> for EmitError {
    fn from(error: ModuleError) -> EmitError {
        match error {
            ModuleError::Compilation(error) => EmitError::Codegen(format!("{error:?}")),
            other => EmitError::Codegen(other.to_string()),
        }
    }
}

/// What [`emit`] leaves behind.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// The plan's entry point.
    pub entry: FuncId,
    /// Cranelift's intermediate code, one text a function, headed by the kernel's equations.
    pub clif: Vec<(String, String)>,
}

/// Compiles a plan into a module.
pub fn emit(module: &mut dyn Module, plan: &Plan, precision: Precision) -> Result<Emitted, EmitError> {
    write(module, plan, precision, false)
}

/// The same with a clock that is read after every kernel (see [`super::clock`]).
pub fn emit_profiled(
    module: &mut dyn Module,
    plan: &Plan,
    precision: Precision,
) -> Result<Emitted, EmitError> {
    write(module, plan, precision, true)
}

fn write(
    module: &mut dyn Module,
    plan: &Plan,
    precision: Precision,
    profiled: bool,
) -> Result<Emitted, EmitError> {
    let problems = verify(plan);
    if !problems.is_empty() {
        return Err(EmitError::Plan(problems.join("; ")));
    }
    let mut emitter = Emitter::new(module, plan, precision);
    // Row kernels in wide code can work on some columns.
    let divisions = divisions(plan, |kernel| {
        emitter.width.is_some_and(|width| wide::rows::supports(plan, kernel, width))
    });
    let mut functions = Vec::new();
    for (number, kernel) in plan.regions.iter().flat_map(entry::kernels).enumerate() {
        functions.push(emitter.kernel(number, kernel, divisions[number])?);
    }
    let entry = emitter.entry(&functions, &divisions, profiled)?;
    Ok(Emitted { entry, clif: emitter.clif })
}

/// Parameters of a kernel's function: context, first row and end, step, first column and end.
const PARAMS: usize = 6;
/// Parameters of the entry point: context, worker, workers.
const ENTRY_PARAMS: usize = 3;

/// The functions of one plan.
pub struct Emitter<'m> {
    module: &'m mut dyn Module,
    plan: &'m Plan,
    precision: Precision,
    fma: bool,
    width: Option<Width>,
    tiling: Tiling,
    tiles: HashMap<Shape, FuncId>,
    clif: Vec<(String, String)>,
}

impl<'m> Emitter<'m> {
    fn new(module: &'m mut dyn Module, plan: &'m Plan, precision: Precision) -> Emitter<'m> {
        let isa = module.isa();
        let fma = has_fma(isa);
        let width = wide::width(isa).filter(|_| precision == Precision::F32);
        let tiling = Tiling::new(precision, width);
        Emitter { module, plan, precision, fma, width, tiling, tiles: HashMap::new(), clif: Vec::new() }
    }

    fn kernel(&mut self, number: usize, kernel: &Kernel, division: Division) -> Result<FuncId, EmitError> {
        let Kernel { work, equations } = kernel;
        let (kind, callees) = match work {
            Work::Rows(_) => ("rows", Vec::new()),
            Work::Gemm(gemm) => ("gemm", gemm::tiles(gemm, self.tiling)),
            Work::Pack(_) => ("pack", Vec::new()),
            Work::Outer(outer) => ("outer", outer::tiles(outer, self.tiling)),
            Work::Combine(_) => ("combine", Vec::new()),
            Work::Scatter(_) => ("scatter", Vec::new()),
            Work::Random(_) => ("random", Vec::new()),
        };
        let callees = callees.into_iter().map(|shape| self.tile(shape)).collect::<Result<Vec<_>, _>>()?;
        let name = format!("{}_{number}_{kind}", symbol(&self.plan.name));
        if let (Work::Rows(kernel), Some(width)) = (work, self.width)
            && let Some(bytes) =
                wide::rows::rows(self.plan, kernel, width, matches!(division.share, Share::Columns(_)))?
        {
            return self.define_bytes(&name, PARAMS, &bytes);
        }
        self.define(&name, Linkage::Local, PARAMS, equations, &callees, written(work), |code| match work {
            Work::Rows(kernel) => rows::rows(code, kernel),
            Work::Gemm(gemm) => gemm::gemm(code, gemm, division.period),
            Work::Pack(pack) => pack::pack(code, pack, division.period),
            Work::Outer(outer) => outer::outer(code, outer),
            Work::Combine(combine) => combine::combine(code, combine),
            Work::Scatter(scatter) => scatter::scatter(code, scatter),
            Work::Random(random) => random::random(code, random),
        })
    }

    /// The product tile of a shape, made when it is first asked for.
    fn tile(&mut self, shape: Shape) -> Result<FuncId, EmitError> {
        if let Some(&function) = self.tiles.get(&shape) {
            return Ok(function);
        }
        let Shape { rows, vectors, stride } = shape;
        let name = format!("{}_tile_{rows}x{vectors}_{stride}", symbol(&self.plan.name));
        let function = match self.width {
            Some(width) => self.define_bytes(&name, tile::PARAMS, &wide::product::tile(width, shape)?)?,
            None => self.define(&name, Linkage::Local, tile::PARAMS, &[], &[], HashSet::new(), |code| {
                tile::tile(code, shape)
            })?,
        };
        self.tiles.insert(shape, function);
        Ok(function)
    }

    fn entry(
        &mut self,
        functions: &[FuncId],
        divisions: &[Division],
        profiled: bool,
    ) -> Result<FuncId, EmitError> {
        let mut callees = functions.to_vec();
        let name = symbol(&self.plan.name);
        if profiled {
            callees.push(clock::define(self.module, &format!("{name}_clock"))?);
        }
        let body = |code: &mut Code| entry::entry(code, divisions, profiled);
        self.define(&name, Linkage::Export, ENTRY_PARAMS, &[], &callees, HashSet::new(), body)
    }

    /// Places a function of `params` 64-bit parameters that is machine code already.
    fn define_bytes(&mut self, name: &str, params: usize, bytes: &[u8]) -> Result<FuncId, EmitError> {
        let mut signature = self.module.make_signature();
        signature.params = vec![AbiParam::new(types::I64); params];
        let function = self.module.declare_function(name, Linkage::Local, &signature)?;
        self.module.define_function_bytes(function, 64, bytes, &[])?;
        Ok(function)
    }

    /// Builds, keeps the text of and compiles one function of `params` 64-bit parameters.
    #[allow(clippy::too_many_arguments)]
    fn define(
        &mut self,
        name: &str,
        linkage: Linkage,
        params: usize,
        equations: &[String],
        callees: &[FuncId],
        written: HashSet<BufferId>,
        body: impl FnOnce(&mut Code) -> Result<(), EmitError>,
    ) -> Result<FuncId, EmitError> {
        let mut signature = self.module.make_signature();
        signature.params = vec![AbiParam::new(types::I64); params];
        let function = self.module.declare_function(name, linkage, &signature)?;
        let mut context = self.module.make_context();
        context.func = Function::with_name_signature(UserFuncName::user(0, function.as_u32()), signature);
        let callees = callees
            .iter()
            .map(|&callee| self.module.declare_func_in_func(callee, &mut context.func))
            .collect();
        let mut builder_context = FunctionBuilderContext::new();
        let mut build = FunctionBuilder::new(&mut context.func, &mut builder_context);
        let start = build.create_block();
        build.append_block_params_for_function_params(start);
        build.switch_to_block(start);
        build.seal_block(start);
        let params = build.block_params(start).to_vec();
        let mut code = Code {
            build,
            plan: self.plan,
            slots: Slots::new(self.plan),
            precision: self.precision,
            types: Types::new(self.precision),
            call_conv: self.module.isa().default_call_conv(),
            tiling: self.tiling,
            fma: self.fma,
            params,
            callees,
            written,
        };
        body(&mut code)?;
        code.build.ins().return_(&[]);
        code.build.finalize(self.module.target_config());
        let mut text: String = equations.iter().map(|equation| format!("; {equation}\n")).collect();
        text.push_str(&context.func.to_string());
        self.clif.push((name.to_string(), text));
        self.module.define_function(function, &mut context)?;
        Ok(function)
    }
}

/// Whether a machine multiplies and adds in one instruction: always, on other targets than x86-64.
pub(super) fn has_fma(isa: &dyn TargetIsa) -> bool {
    isa.name() != "x64"
        || isa.isa_flags().iter().any(|flag| flag.name == "has_fma" && flag.as_bool() == Some(true))
}

/// A name as the linker and C take it: letters, digits and underscores.
pub fn symbol(name: &str) -> String {
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() { letter } else { '_' }
    };
    let symbol: String = name.chars().map(plain).collect();
    match symbol.starts_with(|first: char| first.is_ascii_digit()) || symbol.is_empty() {
        true => format!("_{symbol}"),
        false => symbol,
    }
}

/// Buffers that a kernel writes.
fn written(work: &Work) -> HashSet<BufferId> {
    let packed = match work {
        Work::Pack(pack) => Some(pack.to),
        _ => None,
    };
    places(work)
        .iter()
        .filter(|used| used.access == Access::Write)
        .map(|used| used.place.at.buffer)
        .chain(packed)
        .collect()
}
