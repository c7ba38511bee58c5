/* What Go calls that takes a struct in C: the pointers that Go passes must be arguments. */
#include "bridge.h"

static struct oar_failure failure(oar_status status, oar_status cause, const char *text, size_t text_len, uint64_t leader,
                                  const char *address, size_t address_len, int32_t system_error) {
    struct oar_failure f = {status, cause, text, text_len, leader, address, address_len, system_error, 0};
    return f;
}

oar_status oar_go_failed(oar_status status, oar_status cause, const char *text, size_t text_len, uint64_t leader,
                         const char *address, size_t address_len, int32_t system_error) {
    struct oar_failure f = failure(status, cause, text, text_len, leader, address, address_len, system_error);
    return oar_failed_with(&f);
}

void oar_go_call_fail(struct oar_call_object *call, oar_status status, oar_status cause, const char *text, size_t text_len,
                      uint64_t leader, const char *address, size_t address_len, int32_t system_error, uint64_t index) {
    struct oar_failure f = failure(status, cause, text, text_len, leader, address, address_len, system_error);
    f.index = index;
    oar_call_fail(call, &f);
}
