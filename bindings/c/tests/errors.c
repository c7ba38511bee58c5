/* Statuses and their classes, and what is kept of the last failure. */
#include "harness.h"

static void statuses(void) {
    int names = 0;
#define ONE(name, number, class_bits, text)                                                                            \
    CHECK(name == number && names++ >= 0);                                                                             \
    CHECK(strcmp(oar_status_name(number), #name) == 0);                                                                \
    CHECK(strcmp(oar_status_text(number), text) == 0);                                                                 \
    CHECK(oar_status_class(number) == class_bits);
    OAR_STATUS_LIST(ONE)
    CHECK(names == 58);
    static const oar_status unknown[] = {-1, 16, 99, 108, 219, 307, 407, 501, OAR_STATUS_MAX_, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        CHECK(strcmp(oar_status_name(unknown[i]), "unknown status") == 0);
        CHECK(strcmp(oar_status_text(unknown[i]), "unknown status") == 0);
        CHECK(oar_status_class(unknown[i]) == OAR_CLASS_MAYBE_COMMITTED); /* who does not know must not say "not applied" */
    }
}

/* What a caller may do after each status follows from its class alone. */
static void classes(void) {
#define CONSISTENT(name, number, c, text)                                                                              \
    CHECK(((c) & ~31u) == 0);                                                                                          \
    CHECK(!((c) & OAR_CLASS_MAYBE_COMMITTED) || !((c) & (OAR_CLASS_RETRYABLE | OAR_CLASS_APPLIED)));                   \
    CHECK(!((c) & OAR_CLASS_FATAL) || !((c) & OAR_CLASS_RETRYABLE));                                                   \
    CHECK(!((c) & OAR_CLASS_REDIRECT) || ((c) & OAR_CLASS_RETRYABLE));
    OAR_STATUS_LIST(CONSISTENT)
    CHECK(oar_status_class(OAR_OK) == 0);
    CHECK(oar_status_class(OAR_ERR_PENDING) == OAR_CLASS_MAYBE_COMMITTED);
    CHECK(oar_status_class(OAR_ERR_NOT_LEADER) == (OAR_CLASS_RETRYABLE | OAR_CLASS_REDIRECT));
    CHECK(oar_status_class(OAR_ERR_RESULT_TOO_LARGE) == OAR_CLASS_APPLIED);
}

static void versions(void) {
    int major = 0, minor = -1, patch = -1;
    CHECK(sscanf(oar_version(), "%d.%d.%d", &major, &minor, &patch) == 3);
    OK(OAR_CHECK_ABI());
    OK(oar_check_abi(OAR_ABI_MAJOR, 0));
    SAYS(oar_check_abi(OAR_ABI_MAJOR, OAR_ABI_MINOR + 1), OAR_ERR_ABI, "ABI");
    IS(oar_check_abi(OAR_ABI_MAJOR + 1, 0), OAR_ERR_ABI);
    IS(oar_check_abi(OAR_ABI_MAJOR - 1, 0), OAR_ERR_ABI);
    IS(oar_check_abi(UINT32_MAX, UINT32_MAX), OAR_ERR_ABI);
}

static void *another(void *unused) {
    oar_error_detail d;
    (void)unused;
    CHECK(oar_last_error()[0] == '\0'); /* what failed on the other thread is not ours */
    OAR_INIT(&d);
    OK(oar_last_error_detail(&d));
    CHECK(d.status == OAR_OK && d.cause == OAR_OK && d.class_bits == 0 && d.leader == 0 && d.system_error == 0);
    CHECK(d.leader_address != NULL && d.leader_address[0] == '\0');
    IS(oar_check_abi(7, 7), OAR_ERR_ABI);
    HAS(oar_last_error(), "7.7");
    return NULL;
}

static void last_error(void) {
    oar_config *config;
    oar_error_detail d;
    CHECK(oar_last_error()[0] == '\0');
    IS(oar_config_free(BOGUS(oar_config, 0x123456)), OAR_ERR_HANDLE);
    const char *text = oar_last_error();
    HAS(text, "0x123456");
    char kept[200];
    (void)snprintf(kept, sizeof kept, "%s", text);
    OK(oar_config_new(&config)); /* successes keep it, and so do functions that never fail */
    OK(oar_config_free(NULL));
    (void)counts();
    (void)oar_status_text(77);
    join(spawn(another, NULL));
    CHECK(strcmp(kept, oar_last_error()) == 0);
    OAR_INIT(&d);
    OK(oar_last_error_detail(&d));
    CHECK(d.status == OAR_ERR_HANDLE && d.cause == OAR_ERR_HANDLE && d.class_bits == 0);
    OK(oar_config_free(config));
    IS(oar_config_load_file("there/is/none", &config), OAR_ERR_NOT_FOUND);
    CHECK(config == NULL);
    HAS(oar_last_error(), "there/is/none");
    OAR_INIT(&d);
    OK(oar_last_error_detail(&d));
    CHECK(d.status == OAR_ERR_NOT_FOUND && d.system_error == ENOENT);
    OK(oar_config_new(&config));
    OK(oar_config_free(config));
    IS(oar_config_free(config), OAR_ERR_HANDLE);
    OAR_INIT(&d);
    OK(oar_last_error_detail(&d));
    CHECK(d.system_error == 0 && d.leader == 0 && d.leader_address[0] == '\0'); /* nothing is left of the one before */
}

/* Threads that end give back what the library kept of them. */
static void threads(void) {
    for (int i = 0; i < 200; i++) join(spawn(another, NULL));
}

const struct phase errors_phases[] = {
    {"errors.statuses", statuses}, {"errors.classes", classes}, {"errors.versions", versions},
    {"errors.last", last_error},   {"errors.threads", threads}, {NULL, NULL},
};
