/*
 * Which file systems count as a network, and how the type of a mount is found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/magic.h>

#include "shared/base/state_dir.h"

static void networks_have_names(void **state)
{
	(void)state;
	assert_string_equal(filesystem_network_name(NFS_SUPER_MAGIC, ""), "NFS");
	assert_string_equal(filesystem_network_name(SMB_SUPER_MAGIC, ""), "SMB");
	assert_string_equal(filesystem_network_name(0xFF534D42, "cifs"), "CIFS");
	assert_string_equal(filesystem_network_name(0xFE534D42, "smb3"), "SMB2");
	assert_string_equal(filesystem_network_name(AFS_SUPER_MAGIC, ""), "AFS");
	assert_string_equal(filesystem_network_name(CODA_SUPER_MAGIC, ""), "Coda");
	assert_string_equal(filesystem_network_name(NCP_SUPER_MAGIC, ""), "NCP");
	assert_string_equal(filesystem_network_name(V9FS_MAGIC, "9p"), "9P");
	assert_string_equal(filesystem_network_name(0x00C36400, "ceph"), "Ceph");
	assert_string_equal(filesystem_network_name(0x0BD00BD0, "lustre"), "Lustre");
}

static void disks_and_memory_have_none(void **state)
{
	(void)state;
	static const uint32_t local[] = {
		EXT4_SUPER_MAGIC,      XFS_SUPER_MAGIC,
		BTRFS_SUPER_MAGIC,     TMPFS_MAGIC,
		F2FS_SUPER_MAGIC,      RAMFS_MAGIC,
		OVERLAYFS_SUPER_MAGIC, REISERFS_SUPER_MAGIC,
		0x2FC12FC1 /* ZFS */,  0,
	};

	for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++)
		assert_null(filesystem_network_name(local[i], ""));
}

static void fuse_is_a_network_unless_it_is_known_to_be_local(void **state)
{
	(void)state;
	static const char *const networks[] = {
		"fuse.sshfs", "fuse.rclone",  "fuse.glusterfs",	  "fuse.s3fs", "fuse",
		"",	      "fuseblk.more", "fuse.fuse-overlay"};

	for (size_t i = 0; i < sizeof(networks) / sizeof(networks[0]); i++)
		assert_string_equal(filesystem_network_name(FUSE_SUPER_MAGIC, networks[i]), "FUSE");
	assert_null(filesystem_network_name(FUSE_SUPER_MAGIC, "fuseblk"));
	assert_null(filesystem_network_name(FUSE_SUPER_MAGIC, "fuse.fuse-overlayfs"));
}

static void the_type_of_a_mount_is_found_by_its_device(void **state)
{
	(void)state;
	static char text[] = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
			     "23 22 0:21 / /proc rw shared:12 master:3 - proc proc rw\n"
			     "nonsense\n"
			     "\n"
			     "31 22 0:45 / /mnt/a\\040-\\040b rw - fuse.sshfs me@host: rw\n"
			     "32 22 0:46 / /mnt/c rw,nosuid - fuseblk /dev/sdb1 rw\n"
			     "33 22 0:47 / /mnt/d rw - \n";
	static const struct {
		unsigned major, minor;
		const char *type;
	} cases[] = {
		{8, 1, "ext4"},	    {0, 21, "proc"}, {0, 45, "fuse.sshfs"},
		{0, 46, "fuseblk"}, {0, 47, ""},     {0, 4, ""},
		{8, 2, ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char type[FILESYSTEM_TYPE_SIZE] = "left over";
		FILE *mountinfo = fmemopen(text, sizeof(text) - 1, "r");

		assert_int_equal(
			filesystem_mount_type(mountinfo, cases[i].major, cases[i].minor, type),
			cases[i].type[0] != '\0');
		assert_string_equal(type, cases[i].type);
		fclose(mountinfo);
	}
}

static void a_type_too_long_is_cut(void **state)
{
	(void)state;
	char text[256] = "1 1 0:1 / / rw - ", type[FILESYSTEM_TYPE_SIZE];

	memset(text + strlen(text), 'x', 200);
	FILE *mountinfo = fmemopen(text, strlen(text), "r");
	assert_true(filesystem_mount_type(mountinfo, 0, 1, type));
	assert_int_equal(strlen(type), FILESYSTEM_TYPE_SIZE - 1);
	fclose(mountinfo);
}

static void the_kernel_is_asked(void **state)
{
	(void)state;
	assert_null(filesystem_network("/proc"));
	assert_null(filesystem_network("/nowhere/at/all"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(networks_have_names),
		cmocka_unit_test(disks_and_memory_have_none),
		cmocka_unit_test(fuse_is_a_network_unless_it_is_known_to_be_local),
		cmocka_unit_test(the_type_of_a_mount_is_found_by_its_device),
		cmocka_unit_test(a_type_too_long_is_cut),
		cmocka_unit_test(the_kernel_is_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
