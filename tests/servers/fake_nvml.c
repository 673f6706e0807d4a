/* A libnvidia-ml.so.1 with two GPUs, for tests: drives the real binding without a card. Its driver calls itself fake.
   Device 1 is hot: throttled by heat, with uncorrected memory errors; it has no power sensor.
   INTERN_FAKE_PID in the environment is shown as a compute process of device 0, holding 3 GB. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned int u32;
typedef unsigned long long u64;
typedef struct { u32 index; } Device;
typedef struct { u64 total, free, used; } Memory;
typedef struct { u32 gpu, memory; } Rates;
typedef struct { u32 pid; u64 used; u32 instance, compute; } Process;

enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7 };
static Device devices[2] = {{0}, {1}};
#define GB (1ull << 30)

int nvmlInit_v2(void) { return OK; }
int nvmlInitWithFlags(u32 flags) { (void)flags; return OK; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { return code == NOT_SUPPORTED ? "Not Supported" : "Error"; }
int nvmlSystemGetDriverVersion(char *out, u32 length) { snprintf(out, length, "000.00-fake"); return OK; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 13000; return OK; }
int nvmlDeviceGetCount_v2(u32 *count) { *count = 2; return OK; }
int nvmlDeviceGetHandleByIndex_v2(u32 index, Device **out) {
  if (index > 1) return INVALID;
  *out = &devices[index];
  return OK;
}
int nvmlDeviceGetName(Device *d, char *out, u32 length) { snprintf(out, length, "Fake H100 %u", d->index); return OK; }
int nvmlDeviceGetUtilizationRates(Device *d, Rates *out) { out->gpu = d->index ? 100 : 87; out->memory = 40; return OK; }
int nvmlDeviceGetMemoryInfo(Device *d, Memory *out) {
  out->total = 80 * GB; out->used = d->index ? 70 * GB : 4 * GB; out->free = out->total - out->used;
  return OK;
}
int nvmlDeviceGetPowerUsage(Device *d, u32 *milliwatts) {
  if (d->index) return NOT_SUPPORTED;
  *milliwatts = 412000;
  return OK;
}
int nvmlDeviceGetTemperature(Device *d, int sensor, u32 *celsius) { (void)sensor; *celsius = d->index ? 91 : 61; return OK; }
int nvmlDeviceGetCurrentClocksEventReasons(Device *d, u64 *bits) { *bits = d->index ? 0x40 | 0x4 : 0x1; return OK; }
int nvmlDeviceGetCurrentClocksThrottleReasons(Device *d, u64 *bits) { return nvmlDeviceGetCurrentClocksEventReasons(d, bits); }
int nvmlDeviceGetTotalEccErrors(Device *d, int type, int counter, u64 *out) {
  (void)type; (void)counter;
  *out = d->index ? 3 : 0;
  return OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(Device *d, u32 *count, Process *out) {
  const char *own = getenv("INTERN_FAKE_PID");
  u32 have = d->index ? 3 : (own ? 1 : 0), room = *count;
  *count = have;
  if (have > room) return TOO_SMALL;
  for (u32 i = 0; i < have; i++) {
    memset(&out[i], 0, sizeof out[i]);
    out[i].pid = d->index ? 4000000 + i : (u32)atoi(own);
    out[i].used = d->index ? 20 * GB : 3 * GB;
  }
  return OK;
}
