/* Many servers, one after the other: nothing is left of them. */
#include "harness.h"

#include <dirent.h>

static struct machine machine;

static long resident(void) { /* bytes */
    long pages = 0, size;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f != NULL && fscanf(f, "%ld %ld", &size, &pages) == 2);
    (void)fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

/* How many threads or open files the process has, by a folder of /proc. */
static int entries_of(const char *folder) {
    int count = 0;
    DIR *dir = opendir(folder);
    CHECK(dir != NULL);
    while (readdir(dir) != NULL) count++;
    (void)closedir(dir);
    return count;
}

static void one_life(oar_config *config, bool everything) {
    oar_server *server = started(config, 1, &machine_full, &machine);
    oar_client *client = NULL;
    oar_events *events = NULL;
    oar_queue *queue = NULL;
    oar_call *call = NULL;
    machine.sum = 0;
    if (everything) {
        oar_completion c;
        size_t n;
        OK(oar_server_wait_ready(server, PATIENCE));
        OK(oar_client_open(config, NULL, &client));
        OK(oar_events_open(server, NULL, &events));
        OK(oar_queue_new(&queue));
        OK(oar_client_propose(client, NULL, "+1", 2, PATIENCE, NULL, NULL));
        OK(oar_propose_queued(server, NULL, "+1", 2, queue, 1));
        OK(oar_queue_next(queue, PATIENCE, &c, sizeof c, 1, &n));
        OK(oar_propose_start(server, NULL, "+1", 2, &call));
        IS(oar_propose(server, NULL, "+1", 2, 0, NULL, NULL), OAR_ERR_NOT_SENT);
        OK(oar_server_snapshot(server, 0, PATIENCE));
    }
    OK(oar_server_close(server));
    OK(oar_call_free(call));
    OK(oar_queue_free(queue));
    OK(oar_events_free(events));
    OK(oar_client_free(client));
    OK(oar_server_free(server));
}

static void at_base(oar_counts base) {
    EVENTUALLY(counts().bytes == base.bytes && counts().goroutines <= base.goroutines);
    oar_counts c = counts();
    CHECK(c.configs == base.configs && c.servers == 0 && c.clients == 0 && c.calls == 0 && c.queues == 0 && c.events == 0);
}

static void servers(int count, int every) {
    long early = 0;
    machine_init(&machine);
    oar_config *config = cluster(1, true);
    oar_counts base = counts();
    int files = 0, threads = 0;
    for (int i = 1; i <= count; i++) {
        one_life(config, i % every == 0);
        if (i == every) files = entries_of("/proc/self/fd"), threads = entries_of("/proc/self/task");
        if (i % 100 == 0) at_base(base);
        if (i == count / 5) early = resident();
    }
    long late = resident();
    EVENTUALLY(entries_of("/proc/self/fd") <= files);
    CHECK(entries_of("/proc/self/task") < threads + 64); /* Go keeps threads for later use, a few */
    /* The Go runtime keeps a heap of about its size; what grows with each server would be some 100 KiB for each. */
    if (late > early + (48 << 20)) fail_at(__FILE__, __LINE__, "%ld KiB after %d servers, %ld KiB after %d", early >> 10, count / 5, late >> 10, count);
    CHECK(machine.destroyed == count && machine.released == machine.prepared);
    OK(oar_config_free(config));
}

static void in_memory(void) { servers(getenv("ASAN_OPTIONS") == NULL ? 950 : 200, 5); }

static void on_disk(void) {
    machine_init(&machine);
    oar_config *config = cluster(1, false);
    oar_counts base = counts();
    for (int i = 1; i <= (getenv("ASAN_OPTIONS") == NULL ? 50 : 15); i++) one_life(config, i % 5 == 0);
    at_base(base);
    OK(oar_config_free(config));
}

/* The same with what fails on the way. */
static void failures(void) {
    oar_server_options o;
    oar_server *server;
    oar_client *client;
    oar_config *bad, *config = cluster(1, true);
    machine_init(&machine);
    OAR_INIT(&o);
    oar_counts base = counts();
    for (int i = 0; i < 500; i++) {
        IS(oar_config_parse("nonsense", 8, NULL, &bad), OAR_ERR_CONFIG);
        o.machine = NULL;
        IS(oar_server_open(config, 1, &o, &server), OAR_ERR_ARGUMENT);
        o.machine = &machine_full, o.machine_user_data = &machine;
        CHECK(oar_server_open(config, 77, &o, &server) != OAR_OK);
        OK(oar_server_open(config, 1, &o, &server));
        IS(oar_propose(server, NULL, "+1", 2, OAR_SECOND, NULL, NULL), OAR_ERR_ORDER);
        OK(oar_server_free(server));
        OK(oar_client_open(config, NULL, &client));
        IS(oar_client_propose(client, NULL, "+1", 2, 0, NULL, NULL), OAR_ERR_NOT_SENT);
        OK(oar_client_free(client));
    }
    at_base(base);
    OK(oar_config_free(config));
}

const struct phase leaks_phases[] = {
    {"leaks.in-memory", in_memory}, {"leaks.on-disk", on_disk}, {"leaks.failures", failures}, {NULL, NULL},
};
