/* What Go calls that takes a struct in C: the pointers that Go passes must be arguments. */
#ifndef OAR_BRIDGE_H
#define OAR_BRIDGE_H

#include "internal.h"

oar_status oar_go_failed(oar_status status, oar_status cause, const char *text, size_t text_len, uint64_t leader,
                         const char *address, size_t address_len, int32_t system_error);
void oar_go_call_fail(struct oar_call_object *call, oar_status status, oar_status cause, const char *text, size_t text_len,
                      uint64_t leader, const char *address, size_t address_len, int32_t system_error, uint64_t index);

#endif
