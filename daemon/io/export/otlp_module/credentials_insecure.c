#include "io/export/otlp_module/credentials.h"

#include "base/err.h"

int credentials_make(const struct transport_target *target,
                     grpc_channel_credentials **ret_credentials)
{
    if (target->tls) {
        return ERR_UNSUPPORTED;
    }
    *ret_credentials = grpc_insecure_credentials_create();
    return *ret_credentials == NULL ? ERR_SYSTEM : 0;
}
