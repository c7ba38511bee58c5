/* A store of which a file is damaged, cut or gone: the server starts with all that was acknowledged, or says what is wrong. */
#include "harness.h"

#include <ftw.h>

enum { FILES_MAX = 64, SUM = 30 };

static struct machine machine;
static char files[FILES_MAX][200];
static int count;

static int list(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)at;
    if (kind != FTW_F || st->st_size == 0) return 0;
    CHECK(count < FILES_MAX && strlen(path) < sizeof files[0]);
    strcpy(files[count++], path);
    return 0;
}

/* A store with a snapshot and commands after it. */
static oar_config *filled(void) {
    machine_init(&machine);
    oar_config *config = cluster(1, false);
    oar_server *server = started(config, 1, &machine_full, &machine);
    OK(oar_server_wait_ready(server, PATIENCE));
    for (long i = 1; i <= SUM; i++) {
        add(server, 1, i);
        if (i == SUM / 2) OK(oar_server_snapshot(server, 0, PATIENCE));
    }
    OK(oar_server_free(server));
    CHECK(nftw("data", list, 16, FTW_PHYS) == 0 && count >= 4);
    CHECK(system("cp -r data kept") == 0);
    return config;
}

enum harm { FLIPPED, CUT, GONE, HARMS };
static void harm(const char *path, enum harm how) {
    unsigned char bytes[16];
    if (how == GONE) {
        CHECK(remove(path) == 0);
        return;
    }
    FILE *f = fopen(path, "r+b");
    CHECK(f != NULL && fseek(f, 0, SEEK_END) == 0);
    long size = ftell(f), at = size / 2;
    if (how == FLIPPED) {
        CHECK(fseek(f, at, SEEK_SET) == 0);
        size_t n = fread(bytes, 1, sizeof bytes, f);
        for (size_t i = 0; i < n; i++) bytes[i] ^= 0x55;
        CHECK(fseek(f, at, SEEK_SET) == 0 && fwrite(bytes, 1, n, f) == n);
    }
    CHECK(fclose(f) == 0);
    if (how == CUT) CHECK(truncate(path, at) == 0);
}

/* Starts on what is there and returns what was said: OAR_OK with the sum that there is. */
static oar_status tried(oar_config *config, long *sum) {
    machine.sum = 0;
    oar_server *server = opened(config, 1, &machine_full, &machine);
    oar_status status = oar_server_start(server);
    if (status == OAR_OK) status = oar_server_wait_ready(server, PATIENCE);
    if (status == OAR_OK) *sum = sum_of(server);
    OK(oar_server_free(server));
    return status;
}

static void damaged(void) {
    int said[HARMS] = {0};
    oar_config *config = filled();
    for (int i = 0; i < count; i++)
        for (enum harm how = FLIPPED; how < HARMS; how++) {
            long sum = 0;
            harm(files[i], how);
            oar_status status = tried(config, &sum);
            /* What was cut off or is gone may look as if it had never been; what reads otherwise than it was written may not. */
            if (status == OAR_ERR_INTERNAL || (how == FLIPPED && status != OAR_ERR_DAMAGED && (status != OAR_OK || sum != SUM)))
                fail_at(__FILE__, __LINE__, "%s, harmed in way %u: %s, sum %ld", files[i], how, oar_status_name(status), sum);
            if (status == OAR_ERR_DAMAGED) CHECK(oar_status_class(status) == OAR_CLASS_FATAL);
            said[how] += status == OAR_ERR_DAMAGED;
            CHECK(system("rm -rf data && cp -r kept data") == 0);
        }
    for (int how = FLIPPED; how < HARMS; how++) CHECK(said[how] > 0);
    OK(oar_config_free(config));
}

const struct phase damage_phases[] = {{"damage.files", damaged}, {NULL, NULL}};
