// A stand-in for libcuda.so.1 below the real cuda.bindings: what they pass is written to the file STAND_IN_LOG, a line for
// each call, and copies are run at once. Memory of the GPU is memory of the host. Events, streams and graphs are numbers.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t Handle;  // as wide as a pointer

static FILE *file;
static Handle made = 0x1000, current;
static int capturing;

static Handle make(void) { return made += 0x10; }

// Written as unsigned numbers; the launch of a kernel adds the first 8 bytes of its parameters.
#define LOG(...) (file ? fprintf(file, __VA_ARGS__) : 0)
#define HEX "%llx"
#define U(value) ((unsigned long long)(Handle)(value))

#define MAKING(name) \
    int stand_in_##name(Handle *result, unsigned flags) { LOG(#name " %u\n", flags); *result = make(); return 0; }
#define ENDING(name) \
    int stand_in_##name(Handle handle) { LOG(#name " " HEX "\n", U(handle)); return 0; }

MAKING(cuStreamCreate)
MAKING(cuEventCreate)
ENDING(cuStreamDestroy)
ENDING(cuEventDestroy)
ENDING(cuModuleUnload)
ENDING(cuGraphDestroy)
ENDING(cuGraphExecDestroy)

int stand_in_cuInit(unsigned flags) { LOG("cuInit %u\n", flags); return 0; }
int stand_in_cuDeviceGetCount(int *count) { LOG("cuDeviceGetCount\n"); *count = 1; return 0; }
int stand_in_cuDeviceGet(int *device, int ordinal) { LOG("cuDeviceGet %d\n", ordinal); *device = ordinal; return 0; }
int stand_in_cuDeviceGetName(char *name, int size, int device) {
    LOG("cuDeviceGetName %d %d\n", size, device);
    strncpy(name, "Stand-in RTX", (size_t)size);
    return 0;
}
int stand_in_cuDeviceGetAttribute(int *value, int attribute, int device) {
    LOG("cuDeviceGetAttribute %d %d\n", attribute, device);
    *value = attribute == 75 ? 8 : attribute == 76 ? 9 : -1;
    return 0;
}
int stand_in_cuDevicePrimaryCtxRetain(Handle *context, int device) {
    LOG("cuDevicePrimaryCtxRetain %d\n", device);
    *context = 0xC0;
    return 0;
}
int stand_in_cuDevicePrimaryCtxRelease(int device) { LOG("cuDevicePrimaryCtxRelease %d\n", device); return 0; }
int stand_in_cuCtxSetCurrent(Handle context) { LOG("cuCtxSetCurrent " HEX "\n", U(context)); current = context; return 0; }
int stand_in_cuCtxPushCurrent(Handle context) { LOG("cuCtxPushCurrent " HEX "\n", U(context)); return 0; }
int stand_in_cuCtxPopCurrent(Handle *context) { LOG("cuCtxPopCurrent\n"); *context = 0xC0; return 0; }
int stand_in_cuModuleLoadData(Handle *module, const char *cubin) {
    LOG("cuModuleLoadData %s\n", cubin);
    *module = make();
    return 0;
}
int stand_in_cuModuleGetFunction(Handle *function, Handle module, const char *name) {
    LOG("cuModuleGetFunction " HEX " %s\n", U(module), name);
    *function = make();
    return 0;
}
int stand_in_cuMemAlloc(Handle *address, size_t size) {
    LOG("cuMemAlloc %zu\n", size);
    *address = (Handle)aligned_alloc(256, (size + 255) / 256 * 256);
    return 0;
}
int stand_in_cuMemFree(Handle address) { LOG("cuMemFree\n"); free((void *)address); return 0; }
int stand_in_cuMemHostAlloc(Handle *address, size_t size, unsigned flags) {
    LOG("cuMemHostAlloc %zu %u\n", size, flags);
    *address = (Handle)aligned_alloc(256, (size + 255) / 256 * 256);
    return 0;
}
int stand_in_cuMemFreeHost(void *address) { LOG("cuMemFreeHost\n"); free(address); return 0; }

static int copy(const char *name, Handle target, Handle source, size_t size, Handle stream) {
    LOG("%s %zu " HEX "\n", name, size, U(stream));
    if (!capturing) memcpy((void *)target, (const void *)source, size);
    return current ? 0 : 201;
}
#define COPY(name) \
    int stand_in_##name(Handle target, Handle source, size_t size, Handle stream) { return copy(#name, target, source, size, stream); }
COPY(cuMemcpyHtoDAsync)
COPY(cuMemcpyDtoHAsync)
COPY(cuMemcpyDtoDAsync)
int stand_in_cuMemsetD8Async(Handle target, unsigned char value, size_t size, Handle stream) {
    LOG("cuMemsetD8Async %u %zu " HEX "\n", value, size, U(stream));
    if (!capturing) memset((void *)target, value, size);
    return 0;
}
int stand_in_cuStreamSynchronize(Handle stream) { LOG("cuStreamSynchronize " HEX "\n", U(stream)); return 0; }
int stand_in_cuStreamWaitEvent(Handle stream, Handle event, unsigned flags) {
    LOG("cuStreamWaitEvent " HEX " " HEX " %u\n", U(stream), U(event), flags);
    return 0;
}
int stand_in_cuStreamBeginCapture(Handle stream, int mode) {
    LOG("cuStreamBeginCapture " HEX " %d\n", U(stream), mode);
    capturing = 1;
    return 0;
}
int stand_in_cuStreamEndCapture(Handle stream, Handle *graph) {
    LOG("cuStreamEndCapture " HEX "\n", U(stream));
    capturing = 0;
    *graph = make();
    return 0;
}
int stand_in_cuEventRecord(Handle event, Handle stream) {
    LOG("cuEventRecord " HEX " " HEX "\n", U(event), U(stream));
    return 0;
}
int stand_in_cuEventSynchronize(Handle event) { LOG("cuEventSynchronize " HEX "\n", U(event)); return 0; }
int stand_in_cuGraphInstantiateWithFlags(Handle *ready, Handle graph, unsigned long long flags) {
    LOG("cuGraphInstantiate " HEX " %llu\n", U(graph), flags);
    *ready = make();
    return 0;
}
int stand_in_cuGraphUpload(Handle graph, Handle stream) { LOG("cuGraphUpload " HEX " " HEX "\n", U(graph), U(stream)); return 0; }
int stand_in_cuGraphLaunch(Handle graph, Handle stream) { LOG("cuGraphLaunch " HEX " " HEX "\n", U(graph), U(stream)); return 0; }
int stand_in_cuLaunchKernel(Handle function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                            unsigned shared, Handle stream, void **params, void **extra) {
    LOG("cuLaunchKernel " HEX " %u %u %u %u %u %u %u " HEX " %s %s\n", U(function), gx, gy, gz, bx, by, bz, shared,
        U(stream), params && *(Handle *)params[0] ? "params" : "null", extra ? "extra" : "plain");
    return 0;
}
int stand_in_cuGetErrorString(int code, const char **text) {
    *text = code == 201 ? "no context" : "another error";
    return 0;
}

static int missing(void) { return 500; }  // CUDA_ERROR_NOT_FOUND

int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status) {
    (void)version, (void)flags;
    if (!file && getenv("STAND_IN_LOG")) setvbuf(file = fopen(getenv("STAND_IN_LOG"), "w"), NULL, _IOLBF, 0);
    char full[256];
    snprintf(full, sizeof full, "stand_in_%s", name);
    Dl_info self;
    dladdr((void *)cuGetProcAddress_v2, &self);
    void *library = dlopen(self.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    *function = strcmp(name, "cuGetProcAddress") ? dlsym(library, full) : (void *)cuGetProcAddress_v2;
    if (!*function) *function = (void *)missing;
    if (status) *status = 0;
    return 0;
}
