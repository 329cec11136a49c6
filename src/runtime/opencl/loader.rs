//! The entry points of OpenCL, looked up in the machine's loader when they are first called.
//!
//! The crate `ocl` declares the functions of the C interface and expects the linker to find them. Here they
//! are defined, each as a call of the function of the same name in `libOpenCL.so.1`, so that the program is
//! built, starts and runs without that library; the build script puts an empty archive where the linker looks
//! for it. [`present`] says whether there is one: without it nothing here may be called, and what is called
//! all the same answers that there is no platform.
//!
//! Only what `ocl` refers to is here. The types are the widths of the C interface: every handle, pointer and
//! callback is a `P`, flags are 64 bits wide.

#![allow(non_snake_case, clippy::too_many_arguments, clippy::many_single_char_names)]

use std::ffi::c_void;
use std::sync::OnceLock;

use libloading::Library;

/// Names of the loader, in the order in which they are tried.
const NAMES: &[&str] = &["libOpenCL.so.1", "libOpenCL.so"];

type P = *mut c_void;
type N = usize;
type U = u32;
type I = i32;
type L = u64;

/// What a function answers without a loader.
trait Absent {
    const ABSENT: Self;
}

impl Absent for I {
    /// `CL_PLATFORM_NOT_FOUND_KHR`
    const ABSENT: I = -1001;
}

impl Absent for P {
    const ABSENT: P = std::ptr::null_mut();
}

/// True if this machine has a loader of OpenCL drivers.
pub fn present() -> bool {
    library().is_some()
}

/// Whether this machine has any driver: a loader that finds none answers as if there were no loader.
pub fn platforms() -> bool {
    let mut count: U = 0;
    let found = clGetPlatformIDs(0, std::ptr::null_mut(), (&raw mut count).cast());
    found == 0 && count > 0
}

/// The loader. It stays for the life of the process: drivers do not survive being unloaded.
fn library() -> Option<&'static Library> {
    static LIBRARY: OnceLock<Option<Library>> = OnceLock::new();
    let open = || {
        NAMES.iter().find_map(|name| {
            // SAFETY: the loader's initialisers are those of a library that any OpenCL program is linked with.
            unsafe { Library::new(*name) }.ok()
        })
    };
    LIBRARY.get_or_init(open).as_ref()
}

/// The function of this name in the loader.
fn find<F: Copy>(name: &str) -> Option<F> {
    // SAFETY: `F` is the type that the C interface gives to the function of this name.
    unsafe { library()?.get::<F>(name.as_bytes()) }.ok().map(|symbol| *symbol)
}

macro_rules! forward {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {$(
        // SAFETY: nothing else in the program defines the name; it has the C interface's type, and its caller
        // keeps the promises of that interface.
        #[unsafe(no_mangle)]
        extern "system" fn $name($($argument: $type),*) -> $result {
            type Entry = extern "system" fn($($type),*) -> $result;
            static ENTRY: OnceLock<Option<Entry>> = OnceLock::new();
            match ENTRY.get_or_init(|| find(stringify!($name))) {
                Some(entry) => entry($($argument),*),
                None => Absent::ABSENT,
            }
        }
    )*};
}

forward! {
    fn clBuildProgram(a: P, b: U, c: P, d: P, e: P, f: P) -> I;
    fn clCompileProgram(a: P, b: U, c: P, d: P, e: U, f: P, g: P, h: P, i: P) -> I;
    fn clCreateBuffer(a: P, b: L, c: N, d: P, e: P) -> P;
    fn clCreateCommandQueue(a: P, b: P, c: L, d: P) -> P;
    fn clCreateContext(a: P, b: U, c: P, d: P, e: P, f: P) -> P;
    fn clCreateContextFromType(a: P, b: L, c: P, d: P, e: P) -> P;
    fn clCreateFromGLBuffer(a: P, b: L, c: U, d: P) -> P;
    fn clCreateFromGLRenderbuffer(a: P, b: L, c: U, d: P) -> P;
    fn clCreateFromGLTexture(a: P, b: L, c: U, d: I, e: U, f: P) -> P;
    fn clCreateFromGLTexture2D(a: P, b: L, c: U, d: I, e: U, f: P) -> P;
    fn clCreateFromGLTexture3D(a: P, b: L, c: U, d: I, e: U, f: P) -> P;
    fn clCreateImage(a: P, b: L, c: P, d: P, e: P, f: P) -> P;
    fn clCreateKernel(a: P, b: P, c: P) -> P;
    fn clCreateKernelsInProgram(a: P, b: U, c: P, d: P) -> I;
    fn clCreateProgramWithBinary(a: P, b: U, c: P, d: P, e: P, f: P, g: P) -> P;
    fn clCreateProgramWithBuiltInKernels(a: P, b: U, c: P, d: P, e: P) -> P;
    fn clCreateProgramWithSource(a: P, b: U, c: P, d: P, e: P) -> P;
    fn clCreateSampler(a: P, b: U, c: U, d: U, e: P) -> P;
    fn clCreateSubBuffer(a: P, b: L, c: U, d: P, e: P) -> P;
    fn clCreateSubDevices(a: P, b: P, c: U, d: P, e: P) -> I;
    fn clCreateUserEvent(a: P, b: P) -> P;
    fn clEnqueueAcquireGLObjects(a: P, b: U, c: P, d: U, e: P, f: P) -> I;
    fn clEnqueueBarrierWithWaitList(a: P, b: U, c: P, d: P) -> I;
    fn clEnqueueCopyBuffer(a: P, b: P, c: P, d: N, e: N, f: N, g: U, h: P, i: P) -> I;
    fn clEnqueueCopyBufferRect(a: P, b: P, c: P, d: P, e: P, f: P, g: N, h: N, i: N, j: N, k: U, l: P, m: P) -> I;
    fn clEnqueueCopyBufferToImage(a: P, b: P, c: P, d: N, e: P, f: P, g: U, h: P, i: P) -> I;
    fn clEnqueueCopyImage(a: P, b: P, c: P, d: P, e: P, f: P, g: U, h: P, i: P) -> I;
    fn clEnqueueCopyImageToBuffer(a: P, b: P, c: P, d: P, e: P, f: N, g: U, h: P, i: P) -> I;
    fn clEnqueueFillBuffer(a: P, b: P, c: P, d: N, e: N, f: N, g: U, h: P, i: P) -> I;
    fn clEnqueueFillImage(a: P, b: P, c: P, d: P, e: P, f: U, g: P, h: P) -> I;
    fn clEnqueueMapBuffer(a: P, b: P, c: U, d: L, e: N, f: N, g: U, h: P, i: P, j: P) -> P;
    fn clEnqueueMapImage(a: P, b: P, c: U, d: L, e: P, f: P, g: P, h: P, i: U, j: P, k: P, l: P) -> P;
    fn clEnqueueMarkerWithWaitList(a: P, b: U, c: P, d: P) -> I;
    fn clEnqueueMigrateMemObjects(a: P, b: U, c: P, d: L, e: U, f: P, g: P) -> I;
    fn clEnqueueNDRangeKernel(a: P, b: P, c: U, d: P, e: P, f: P, g: U, h: P, i: P) -> I;
    fn clEnqueueNativeKernel(a: P, b: P, c: P, d: N, e: U, f: P, g: P, h: U, i: P, j: P) -> I;
    fn clEnqueueReadBuffer(a: P, b: P, c: U, d: N, e: N, f: P, g: U, h: P, i: P) -> I;
    fn clEnqueueReadBufferRect(a: P, b: P, c: U, d: P, e: P, f: P, g: N, h: N, i: N, j: N, k: P, l: U, m: P, n: P) -> I;
    fn clEnqueueReadImage(a: P, b: P, c: U, d: P, e: P, f: N, g: N, h: P, i: U, j: P, k: P) -> I;
    fn clEnqueueReleaseGLObjects(a: P, b: U, c: P, d: U, e: P, f: P) -> I;
    fn clEnqueueTask(a: P, b: P, c: U, d: P, e: P) -> I;
    fn clEnqueueUnmapMemObject(a: P, b: P, c: P, d: U, e: P, f: P) -> I;
    fn clEnqueueWriteBuffer(a: P, b: P, c: U, d: N, e: N, f: P, g: U, h: P, i: P) -> I;
    fn clEnqueueWriteBufferRect(a: P, b: P, c: U, d: P, e: P, f: P, g: N, h: N, i: N, j: N, k: P, l: U, m: P, n: P) -> I;
    fn clEnqueueWriteImage(a: P, b: P, c: U, d: P, e: P, f: N, g: N, h: P, i: U, j: P, k: P) -> I;
    fn clFinish(a: P) -> I;
    fn clFlush(a: P) -> I;
    fn clGetCommandQueueInfo(a: P, b: U, c: N, d: P, e: P) -> I;
    fn clGetContextInfo(a: P, b: U, c: N, d: P, e: P) -> I;
    fn clGetDeviceIDs(a: P, b: L, c: U, d: P, e: P) -> I;
    fn clGetDeviceInfo(a: P, b: U, c: N, d: P, e: P) -> I;
    fn clGetEventInfo(a: P, b: U, c: N, d: P, e: P) -> I;
    fn clGetEventProfilingInfo(a: P, b: U, c: N, d: P, e: P) -> I;
    fn clGetExtensionFunctionAddressForPlatform(a: P, b: P) -> P;
    fn clGetGLContextInfoKHR(a: P, b: U, c: N, d: P, e: P) -> I;
    fn clGetImageInfo(a: P, b: U, c: N, d: P, e: P) -> I;
    fn clGetKernelArgInfo(a: P, b: U, c: U, d: N, e: P, f: P) -> I;
    fn clGetKernelInfo(a: P, b: U, c: N, d: P, e: P) -> I;
    fn clGetKernelWorkGroupInfo(a: P, b: P, c: U, d: N, e: P, f: P) -> I;
    fn clGetMemObjectInfo(a: P, b: U, c: N, d: P, e: P) -> I;
    fn clGetPlatformIDs(a: U, b: P, c: P) -> I;
    fn clGetPlatformInfo(a: P, b: U, c: N, d: P, e: P) -> I;
    fn clGetProgramBuildInfo(a: P, b: P, c: U, d: N, e: P, f: P) -> I;
    fn clGetProgramInfo(a: P, b: U, c: N, d: P, e: P) -> I;
    fn clGetSamplerInfo(a: P, b: U, c: N, d: P, e: P) -> I;
    fn clGetSupportedImageFormats(a: P, b: L, c: U, d: U, e: P, f: P) -> I;
    fn clLinkProgram(a: P, b: U, c: P, d: P, e: U, f: P, g: P, h: P, i: P) -> P;
    fn clReleaseCommandQueue(a: P) -> I;
    fn clReleaseContext(a: P) -> I;
    fn clReleaseDevice(a: P) -> I;
    fn clReleaseEvent(a: P) -> I;
    fn clReleaseKernel(a: P) -> I;
    fn clReleaseMemObject(a: P) -> I;
    fn clReleaseProgram(a: P) -> I;
    fn clReleaseSampler(a: P) -> I;
    fn clRetainCommandQueue(a: P) -> I;
    fn clRetainContext(a: P) -> I;
    fn clRetainDevice(a: P) -> I;
    fn clRetainEvent(a: P) -> I;
    fn clRetainKernel(a: P) -> I;
    fn clRetainMemObject(a: P) -> I;
    fn clRetainProgram(a: P) -> I;
    fn clRetainSampler(a: P) -> I;
    fn clSetEventCallback(a: P, b: I, c: P, d: P) -> I;
    fn clSetKernelArg(a: P, b: U, c: N, d: P) -> I;
    fn clSetMemObjectDestructorCallback(a: P, b: P, c: P) -> I;
    fn clSetUserEventStatus(a: P, b: I) -> I;
    fn clWaitForEvents(a: U, b: P) -> I;
}
