/* A shared object that is no module. */
int plain(void);

__attribute__((visibility("default"))) int
plain(void)
{
    return 7;
}
