/* The library as a whole: versions, statuses, tuning, counts. */
#include "internal.h"

#include "_cgo_export.h"

const char *oar_version(void) { return OAR_VERSION; }

oar_status oar_check_abi(uint32_t abi_major, uint32_t abi_minor) {
    OAR_ENTER();
    if (abi_major == OAR_ABI_MAJOR && abi_minor <= OAR_ABI_MINOR) return OAR_OK;
    return oar_failed(OAR_ERR_ABI, "compiled for ABI %u.%u, and the library (%s) has %d.%d", abi_major, abi_minor, OAR_VERSION,
                      OAR_ABI_MAJOR, OAR_ABI_MINOR);
}

const char *oar_status_name(oar_status status) {
    switch (status) {
#define NAME(name, number, class_bits, text)                                                                           \
    case number: return #name;
        OAR_STATUS_LIST(NAME)
#undef NAME
    default: return "unknown status";
    }
}

const char *oar_status_text(oar_status status) {
    switch (status) {
#define TEXT(name, number, class_bits, text)                                                                           \
    case number: return text;
        OAR_STATUS_LIST(TEXT)
#undef TEXT
    default: return "unknown status";
    }
}

uint32_t oar_status_class(oar_status status) {
    switch (status) {
#define CLASS(name, number, class_bits, text)                                                                          \
    case number: return class_bits;
        OAR_STATUS_LIST(CLASS)
#undef CLASS
    default: return OAR_CLASS_MAYBE_COMMITTED; /* who does not know must not claim that nothing happened */
    }
}

oar_status oar_runtime_configure(const oar_runtime_options *options) {
    OAR_ENTER();
    oar_runtime_options o;
    OAR_TRY(oar_take(&o, sizeof o, options, "oar_runtime_options", sizeof o));
    if (o.flags != 0) return oar_failed(OAR_ERR_FLAGS, "flags of oar_runtime_options is %#x, must be 0", o.flags);
    if (o.gc_percent < 0 || o.memory_bytes_soft < 0 || o.processors < 0 || o.processors > 4096)
        return oar_failed(OAR_ERR_ARGUMENT, "a member of oar_runtime_options is negative, or processors above 4096");
    return oargo_runtime_configure(o.gc_percent, o.memory_bytes_soft, o.processors);
}

oar_status oar_debug_counts(oar_counts *counts) {
    OAR_ENTER();
    oar_counts now;
    OAR_INIT(&now);
    now.goroutines = oargo_goroutines();
    now.configs = oar_handle_count(OAR_CONFIG);
    now.servers = oar_handle_count(OAR_SERVER);
    now.clients = oar_handle_count(OAR_CLIENT);
    now.calls = atomic_load(&oar_calls_under_way);
    now.queues = oar_handle_count(OAR_QUEUE);
    now.events = oar_handle_count(OAR_EVENTS);
    now.clusters = oar_handle_count(OAR_CLUSTER);
    now.bytes = atomic_load(&oar_bytes_held);
    return oar_give(counts, &now, sizeof now, "oar_counts", sizeof now);
}

oar_status oar_shutdown(int64_t timeout) {
    OAR_ENTER();
    OAR_TRY(oar_check_timeout(timeout));
    OAR_TRY(oar_may_wait());
    return oargo_shutdown(timeout);
}
