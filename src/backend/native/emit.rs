//! From a plan to functions in a Cranelift module.
//!
//! Kernel 3 of the plan `Net_loss`, a product, becomes the local function `Net_loss_3_gemm`; the
//! product tiles it calls are `Net_loss_tile_4x2_1` and so on, made once a plan; `Net_loss` itself is the
//! entry point. What each kind of kernel looks like inside is in the file of that name.
//! The functions are kept as well, for those who want to look at them (see [`super::listing`]).

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{AbiParam, Function, InstBuilder, UserFuncName, types};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{FuncId, Linkage, Module, ModuleDeclarations, ModuleError, ModuleReloc};
use rayon::prelude::*;
use thiserror::Error;

use super::code::{Code, Types};
use super::context::Slots;
use super::gemm::Alternative;
use super::listing::Function as Listed;
use super::pack::{Order, Piece};
use super::share::{Division, Divisions, Share, divisions};
use super::target::TargetError;
use super::tile::{self, Shape};
use super::tiling::Tiling;
use super::unpacked::Unpacked;
use super::wide::unpacked::most_rows;
use super::wide::{self, Width};
use super::{clock, combine, entry, gemm, outer, pack, random, rows, scatter, transpose, unpacked};
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
    /// The target is none for this machine.
    #[error(transparent)]
    Target(#[from] TargetError),
}

impl From<ModuleError> for EmitError {
    fn from(error: ModuleError) -> EmitError {
        match error {
            ModuleError::Compilation(error) => EmitError::Codegen(format!("{error:?}")),
            other => EmitError::Codegen(other.to_string()),
        }
    }
}

/// What [`emit`] is to do beside its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Puts in a clock that is read after every kernel (see [`super::clock`]).
    pub profiled: bool,
    /// Keeps every function to be looked at.
    pub recorded: bool,
}

/// What [`emit`] leaves behind.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// The plan's entry point.
    pub entry: FuncId,
    /// The functions, in the order of their making, if they are recorded.
    pub functions: Vec<Listed>,
}

/// Compiles a plan into a module.
///
/// # Errors
/// If the plan contradicts itself or Cranelift refuses a function.
pub fn emit(
    module: &mut dyn Module,
    plan: &Plan,
    precision: Precision,
    options: Options,
) -> Result<Emitted, EmitError> {
    let problems = verify(plan);
    if !problems.is_empty() {
        return Err(EmitError::Plan(problems.join("; ")));
    }
    let mut emitter = Emitter::new(module, plan, precision, options);
    // Row kernels in wide code can work on some columns.
    let divisions = divisions(plan, precision, &emitter.as_they_lie, |kernel| {
        emitter.width.is_some_and(|width| wide::rows::supports(plan, kernel, width))
    });
    let mut functions = Vec::new();
    let kernels: Vec<&Kernel> = crate::plan::places::kernels(plan).collect();
    for (number, kernel) in kernels.iter().enumerate() {
        functions.push(match (&kernel.work, divisions.packed[number].with) {
            (Work::Outer(_), Some(leader)) => functions[leader],
            _ => {
                let along = |other: &usize| divisions.packed[*other].with == Some(number);
                let with: Vec<&Kernel> =
                    (0..kernels.len()).filter(along).map(|other| kernels[other]).collect();
                let [division, cut] = [&divisions.packed, &divisions.unpacked].map(|all| all[number]);
                emitter.kernel(number, kernel, &with, division, cut.period)?
            }
        });
    }
    let entry = emitter.entry(&functions, &divisions)?;
    Ok(Emitted { entry, functions: emitter.place()? })
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
    product: Option<FuncId>,
    unpacked: HashMap<Order, FuncId>,
    as_they_lie: Rc<Unpacked<'m>>,
    gather: Option<FuncId>,
    panels: HashMap<Piece, FuncId>,
    options: Options,
    made: Vec<Made>,
}

impl<'m> Emitter<'m> {
    fn new(
        module: &'m mut dyn Module,
        plan: &'m Plan,
        precision: Precision,
        options: Options,
    ) -> Emitter<'m> {
        let isa = module.isa();
        let fma = has_fma(isa);
        let width = wide::width(isa).filter(|_| precision == Precision::F32);
        let tiling = Tiling::new(precision, width);
        let (tiles, made) = (HashMap::new(), Vec::new());
        Emitter {
            module,
            plan,
            precision,
            fma,
            width,
            tiling,
            tiles,
            product: None,
            unpacked: HashMap::new(),
            as_they_lie: Rc::new(Unpacked::new(plan, tiling)),
            gather: None,
            panels: HashMap::new(),
            options,
            made,
        }
    }

    /// The function of a kernel, and of others that are done `with` it; `cut` is the period of its division where matrices
    /// are read as they lie.
    fn kernel(
        &mut self,
        number: usize,
        kernel: &Kernel,
        with: &[&Kernel],
        division: Division,
        cut: usize,
    ) -> Result<FuncId, EmitError> {
        let Kernel { work, equations, .. } = kernel;
        let (kind, callees) = match work {
            Work::Rows(_) => ("rows", Vec::new()),
            Work::Gemm(_) => ("gemm", Vec::new()),
            Work::Pack(_) => ("pack", Vec::new()),
            Work::Outer(outer) => ("outer", outer::tiles(outer, self.tiling)),
            Work::Combine(_) => ("combine", Vec::new()),
            Work::Scatter(_) => ("scatter", Vec::new()),
            Work::Random(_) => ("random", Vec::new()),
        };
        let mut callees = callees.into_iter().map(|shape| self.tile(shape)).collect::<Result<Vec<_>, _>>()?;
        match work {
            Work::Outer(_) => callees.push(self.gather()?),
            Work::Gemm(gemm) => {
                callees.push(self.product()?);
                for lies in unpacked::forms(self.as_they_lie.parts(gemm)) {
                    callees.push(self.unpacked(lies)?);
                }
            }
            Work::Pack(pack) => {
                for piece in pack::pieces(pack, division.period) {
                    callees.push(self.panels(piece)?);
                }
            }
            _ => {}
        }
        let name = format!("{}_{number}_{kind}", symbol(&self.plan.name));
        if let (Work::Rows(kernel), Some(width)) = (work, self.width)
            && let Some(bytes) =
                wide::rows::rows(self.plan, kernel, width, matches!(division.share, Share::Columns(_)))?
        {
            return self.define_bytes(&name, PARAMS, equations, bytes);
        }
        let all = || std::iter::once(kernel).chain(with.iter().copied());
        let equations: Vec<String> = match work {
            Work::Outer(_) => all().flat_map(|kernel| kernel.equations.clone()).collect(),
            _ => equations.clone(),
        };
        let written = all().flat_map(|kernel| written(&kernel.work)).collect();
        let as_they_lie = Rc::clone(&self.as_they_lie);
        self.define(&name, Linkage::Local, PARAMS, &equations, &callees, written, |code| match work {
            Work::Rows(kernel) => rows::rows(code, kernel),
            Work::Gemm(gemm) => {
                let (parts, readers) = (as_they_lie.parts(gemm), as_they_lie.beside(number));
                let alternative = Alternative { parts, readers, period: cut };
                gemm::gemm(code, gemm, division.period, &alternative)
            }
            Work::Pack(pack) => pack::pack(code, pack, division.period),
            Work::Outer(_) => {
                let sums = all().filter_map(|kernel| match &kernel.work {
                    Work::Outer(outer) => Some(outer),
                    _ => None,
                });
                outer::outers(code, &sums.collect::<Vec<_>>())
            }
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
            Some(width) => {
                let bytes = wide::product::tile(width, shape)?;
                self.define_bytes(&name, tile::PARAMS, &[], bytes)?
            }
            None => self.define(&name, Linkage::Local, tile::PARAMS, &[], &[], HashSet::new(), |code| {
                tile::tile(code, shape)
            })?,
        };
        self.tiles.insert(shape, function);
        Ok(function)
    }

    /// The function that multiplies rows by a packed matrix, made when it is first asked for.
    fn product(&mut self) -> Result<FuncId, EmitError> {
        if let Some(function) = self.product {
            return Ok(function);
        }
        let tiles = gemm::tiles(self.tiling);
        let callees = tiles.into_iter().map(|shape| self.tile(shape)).collect::<Result<Vec<_>, _>>()?;
        let name = format!("{}_product", symbol(&self.plan.name));
        let (params, none) = (gemm::PRODUCT_PARAMS, HashSet::new());
        let function = self.define(&name, Linkage::Local, params, &[], &callees, none, gemm::product)?;
        self.product = Some(function);
        Ok(function)
    }

    /// The function that multiplies rows by a matrix that lies so, made when it is first asked for.
    fn unpacked(&mut self, lies: Order) -> Result<FuncId, EmitError> {
        if let Some(&function) = self.unpacked.get(&lies) {
            return Ok(function);
        }
        let name = match lies {
            Order::Rows(_) => format!("{}_unpacked_rows", symbol(&self.plan.name)),
            Order::Columns => format!("{}_unpacked_columns", symbol(&self.plan.name)),
        };
        let mut callees = Vec::new();
        for rows in 1..=most_rows(lies) {
            let bytes = wide::unpacked::tile(lies, rows)?;
            callees.push(self.define_bytes(&format!("{name}_{rows}"), wide::unpacked::PARAMS, &[], bytes)?);
        }
        let (params, none) = (unpacked::ROWS_PARAMS, HashSet::new());
        let body = |code: &mut Code| unpacked::rows(code, lies);
        let function = self.define(&name, Linkage::Local, params, &[], &callees, none, body)?;
        self.unpacked.insert(lies, function);
        Ok(function)
    }

    /// The function that packs rows of outer products, made when it is first asked for.
    fn gather(&mut self) -> Result<FuncId, EmitError> {
        if let Some(function) = self.gather {
            return Ok(function);
        }
        let name = format!("{}_gather", symbol(&self.plan.name));
        let function = match self.width {
            Some(width) => self.define_bytes(&name, pack::GATHER_PARAMS, &[], wide::panel::gather(width)?)?,
            None => {
                let none = HashSet::new();
                self.define(&name, Linkage::Local, pack::GATHER_PARAMS, &[], &[], none, pack::gather)?
            }
        };
        self.gather = Some(function);
        Ok(function)
    }

    /// The function that packs panels of one kind, made when it is first asked for.
    fn panels(&mut self, piece: Piece) -> Result<FuncId, EmitError> {
        if let Some(&function) = self.panels.get(&piece) {
            return Ok(function);
        }
        let Piece { order, columns, width } = piece;
        let kind = match order {
            Order::Rows(apart) => format!("rows{apart}"),
            Order::Columns => "columns".into(),
        };
        let name = format!("{}_panel_{kind}_{columns}of{width}", symbol(&self.plan.name));
        let wide = match (self.width, order) {
            (Some(width), Order::Rows(1)) => Some(wide::panel::rows(width, piece)?),
            (Some(width), Order::Columns) => Some(wide::transpose::columns(width, piece)?),
            _ => None,
        };
        let (params, none) = (pack::PANELS_PARAMS, HashSet::new());
        let function = match wide {
            Some(bytes) => self.define_bytes(&name, params, &[], bytes)?,
            None => self.define(&name, Linkage::Local, params, &[], &[], none, |code| match order {
                Order::Rows(apart) => pack::panels(code, piece, apart),
                Order::Columns => transpose::panels(code, piece),
            })?,
        };
        self.panels.insert(piece, function);
        Ok(function)
    }

    fn entry(&mut self, functions: &[FuncId], divisions: &Divisions) -> Result<FuncId, EmitError> {
        let profiled = self.options.profiled;
        let mut callees = functions.to_vec();
        let name = symbol(&self.plan.name);
        if profiled {
            callees.push(clock::define(self.module, &format!("{name}_clock"))?);
        }
        let as_they_lie = Rc::clone(&self.as_they_lie);
        let body = |code: &mut Code| entry::entry(code, divisions, &as_they_lie, profiled);
        self.define(&name, Linkage::Export, ENTRY_PARAMS, &[], &callees, HashSet::new(), body)
    }

    /// Takes a function of `params` 64-bit parameters that is machine code already.
    fn define_bytes(
        &mut self,
        name: &str,
        params: usize,
        equations: &[String],
        bytes: Vec<u8>,
    ) -> Result<FuncId, EmitError> {
        let mut signature = self.module.make_signature();
        signature.params = vec![AbiParam::new(types::I64); params];
        let function = self.module.declare_function(name, Linkage::Local, &signature)?;
        self.made.push(Made { function, equations: equations.to_vec(), body: Body::Bytes(bytes) });
        Ok(function)
    }

    /// Builds one function of `params` 64-bit parameters.
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
            ordered_stores: self.module.isa().name() == "x64",
            params,
            callees,
            written,
        };
        body(&mut code)?;
        code.build.ins().return_(&[]);
        code.build.finalize(self.module.target_config());
        context.set_disasm(self.options.recorded && !cfg!(target_arch = "x86_64"));
        let body = Body::Clif(Box::new(context));
        self.made.push(Made { function, equations: equations.to_vec(), body });
        Ok(function)
    }

    /// Compiles what was built, function by function on all threads, and places it all in the order of its
    /// making; the listings, if they are asked for.
    fn place(self) -> Result<Vec<Listed>, EmitError> {
        let Emitter { module, options, mut made, .. } = self;
        let isa = module.isa();
        let names = options.recorded.then(|| module.declarations());
        let listings: Vec<Option<Listed>> =
            made.par_iter_mut().map(|made| made.compile(isa, names)).collect::<Result<_, EmitError>>()?;
        for Made { function, body, .. } in &made {
            match body {
                Body::Bytes(bytes) => module.define_function_bytes(*function, 64, bytes, &[])?,
                Body::Clif(context) => {
                    let Some(code) = context.compiled_code() else { continue };
                    let relocations: Vec<ModuleReloc> = (code.buffer.relocs().iter())
                        .map(|one| ModuleReloc::from_mach_reloc(one, &context.func, *function))
                        .collect();
                    let alignment = u64::from(code.buffer.alignment);
                    module.define_function_bytes(*function, alignment, code.code_buffer(), &relocations)?;
                }
            }
        }
        Ok(listings.into_iter().flatten().collect())
    }
}

/// A function that is declared and not yet placed.
struct Made {
    function: FuncId,
    equations: Vec<String>,
    body: Body,
}

/// What a function is made of.
enum Body {
    /// Machine code.
    Bytes(Vec<u8>),
    /// Intermediate code, and once compiled the machine code beside it.
    Clif(Box<Context>),
}

impl Made {
    /// Compiles it if need be; its listing if the names for it are given.
    fn compile(
        &mut self,
        isa: &dyn TargetIsa,
        names: Option<&ModuleDeclarations>,
    ) -> Result<Option<Listed>, EmitError> {
        let name = |names: &ModuleDeclarations| {
            names.get_function_decl(self.function).linkage_name(self.function).into_owned()
        };
        match &mut self.body {
            Body::Bytes(bytes) => {
                Ok(names.map(|names| Listed::assembled(&name(names), &self.equations, bytes)))
            }
            Body::Clif(context) => {
                let clif = names.map(|names| (names, context.func.to_string()));
                let compiled = context.compile(isa, &mut ControlPlane::default());
                compiled.map_err(|error| EmitError::Codegen(format!("{:?}", error.inner)))?;
                Ok(clif.map(|(names, clif)| {
                    Listed::compiled(&name(names), &self.equations, clif, context, names)
                }))
            }
        }
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
