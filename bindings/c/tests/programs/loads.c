/* A program that was not linked with the library loads it, uses it, and lets it go: loads FILE. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <oarlock.h>
#include <pthread.h>
#include <stdio.h>

/* Everything is looked up by name; the header gives the types. */
#define LOOK_UP(name) (*(void **)&f.name = dlsym(library, #name)) == NULL
static struct {
    __typeof__(oar_check_abi) *oar_check_abi;
    __typeof__(oar_config_generate) *oar_config_generate;
    __typeof__(oar_config_set) *oar_config_set;
    __typeof__(oar_config_free) *oar_config_free;
    __typeof__(oar_server_open) *oar_server_open;
    __typeof__(oar_server_start) *oar_server_start;
    __typeof__(oar_server_wait_ready) *oar_server_wait_ready;
    __typeof__(oar_propose) *oar_propose;
    __typeof__(oar_server_free) *oar_server_free;
    __typeof__(oar_free) *oar_free;
    __typeof__(oar_last_error) *oar_last_error;
    __typeof__(oar_buf_append) *oar_buf_append;
    __typeof__(oar_results_add) *oar_results_add;
} f;

static oar_status apply(void *sum, const oar_entry *entries, size_t count, oar_results *results) {
    for (size_t i = 0; i < count; i++) {
        *(char *)sum = (char)(*(char *)sum + *(const char *)entries[i].command);
        if (f.oar_results_add(results, sum, 1) != OAR_OK) return OAR_ERR_NO_MEMORY;
    }
    return OAR_OK;
}

static oar_status query(void *sum, const void *question, size_t question_len, oar_buf *answer) {
    (void)question, (void)question_len;
    return f.oar_buf_append(answer, sum, 1);
}

static int used(void) {
    oar_state_machine machine = {sizeof machine, 0, apply, query, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL};
    oar_server_options options;
    oar_config *config;
    oar_server *server;
    char sum = 3, four = 4, *result = NULL;
    size_t len = 0;
    OAR_INIT(&options);
    options.machine = &machine, options.machine_user_data = &sum;
    if (f.oar_check_abi(OAR_ABI_MAJOR, OAR_ABI_MINOR) != OAR_OK) return 2;
    for (uint16_t port = 21001; port < 21100; port++) {
        if (f.oar_config_generate(1, "data", port, &config) != OAR_OK || f.oar_config_set(config, "log.kind", "memory") != OAR_OK) return 3;
        if (f.oar_server_open(config, 1, &options, &server) != OAR_OK || f.oar_config_free(config) != OAR_OK) return 4;
        oar_status status = f.oar_server_start(server);
        if (status == OAR_OK) break;
        if (status != OAR_ERR_ADDRESS || f.oar_server_free(server) != OAR_OK) return 5;
    }
    if (f.oar_server_wait_ready(server, 30 * OAR_SECOND) != OAR_OK) return 6;
    if (f.oar_propose(server, NULL, &four, 1, 30 * OAR_SECOND, (void **)&result, &len) != OAR_OK) return 7;
    if (len != 1 || *result != 7) return 8;
    f.oar_free(result);
    return f.oar_server_free(server) == OAR_OK ? 0 : 9;
}

/* A thread that used the library and ends after the program let it go. */
static void *thread(void *library) {
    int said = used();
    if (dlclose(library) != 0) return "dlclose";
    if (said != 0) fprintf(stderr, "step %d: %s\n", said, f.oar_last_error());
    return said == 0 ? NULL : "used";
}

int main(int argc, char **argv) {
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL, *said;
    pthread_t t;
    if (library == NULL) return fprintf(stderr, "%s\n", argc > 1 ? dlerror() : "usage: loads FILE"), 1;
    if (LOOK_UP(oar_check_abi) || LOOK_UP(oar_config_generate) || LOOK_UP(oar_config_set) || LOOK_UP(oar_config_free)) return 1;
    if (LOOK_UP(oar_server_open) || LOOK_UP(oar_server_start) || LOOK_UP(oar_server_wait_ready) || LOOK_UP(oar_propose)) return 1;
    if (LOOK_UP(oar_server_free) || LOOK_UP(oar_free) || LOOK_UP(oar_last_error) || LOOK_UP(oar_buf_append) || LOOK_UP(oar_results_add)) return 1;
    if (pthread_create(&t, NULL, thread, library) != 0 || pthread_join(t, &said) != 0) return 1;
    if (said != NULL) return fprintf(stderr, "%s\n", (char *)said), 1;
    return dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) == NULL; /* and again */
}
