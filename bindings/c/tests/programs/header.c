/* Uses what the header offers beside functions, in what C89 and C++98 have in common: compiled in every dialect. */
#include <oarlock.h>
#include <oarlock.h> /* twice is fine */

static oar_status apply(void *user_data, const oar_entry *entries, size_t count, oar_results *results) {
    size_t i;
    for (i = 0; i < count; i++) {
        oar_status status = oar_results_add(results, entries[i].command, entries[i].command_len);
        if (status != OAR_OK) return status;
    }
    return user_data == NULL ? oar_fail("no user data") : OAR_OK;
}

static oar_status query(void *user_data, const void *question, size_t question_len, oar_buf *answer) {
    (void)user_data;
    return oar_buf_append(answer, question, question_len);
}

static int known(oar_status status) {
    switch (status) {
#define CASE(name, number, class_bits, text) case name: return (int)(class_bits);
        OAR_STATUS_LIST(CASE)
#undef CASE
    default: return -1;
    }
}

static const char *event(uint32_t kind) {
#define IF(name, number, text) if (kind == (uint32_t)name) return text;
    OAR_EVENT_LIST(IF)
#undef IF
    return "";
}

int main(void) {
    oar_state_machine machine;
    oar_server_options options;
    oar_config *config;
    oar_server *server;
    int64_t second = OAR_SECOND + 0 * OAR_MILLISECOND;
    uint32_t kinds = OAR_WORK_ALL & ~OAR_WORK_APPLY;
    OAR_INIT(&machine);
    machine.apply = apply;
    machine.query = query;
    OAR_INIT(&options);
    options.machine = &machine;
    options.machine_user_data = &machine;
    if (options.struct_size != sizeof options || known(OAR_ERR_BUSY) != 1 || event(OAR_EVENT_ROLE)[0] != 'r') return 1;
    if (OAR_CHECK_ABI() != OAR_OK || oar_config_generate(1, "data", 7000, &config) != OAR_OK) return 2;
    if (oar_server_open(config, 1, &options, &server) != OAR_OK) return 3;
    if (oar_server_free(server) != OAR_OK || oar_config_free(config) != OAR_OK) return 4;
    return second > OAR_FOREVER && kinds != 0 && OAR_GROUP_DEFAULT == 1 ? 0 : 5;
}
