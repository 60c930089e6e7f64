/** Icons, drawn for this console. They say nothing that a text beside them, or the label of their button, does not. */
import type { ComponentChildren } from "preact";

function Icon({ children }: { readonly children: ComponentChildren }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="8" class="logo-ground" />
      <ellipse cx="16" cy="9.5" rx="9" ry="3.5" class="logo-disk" />
      <path d="M7 12.700c0 2 4 3.5 9 3.500s9-1.5 9-3.500v3.600c0 2-4 3.5-9 3.500s-9-1.5-9-3.500z" class="logo-disk" />
      <path d="M7 19.500c0 2 4 3.5 9 3.500s9-1.5 9-3.500v3.600c0 2-4 3.5-9 3.500s-9-1.5-9-3.500z" class="logo-disk" />
    </svg>
  );
}

export const PlusIcon = () => (
  <Icon>
    <path d="M10 4v12M4 10h12" />
  </Icon>
);

export const TrashIcon = () => (
  <Icon>
    <path d="M3.5 5.500h13M8 5.500v-2h4v2M5.5 5.500l.7 11h7.600l.7-11M8.5 8.500v5M11.5 8.500v5" />
  </Icon>
);

export const SunIcon = () => (
  <Icon>
    <circle cx="10" cy="10" r="3.5" />
    <path d="M10 2v2m0 12v2M2 10h2m12 0h2M4.3 4.3l1.4 1.4m8.6 8.6l1.4 1.4M4.3 15.7l1.4-1.4M14.3 5.7l1.4-1.4" />
  </Icon>
);

export const MoonIcon = () => (
  <Icon>
    <path d="M16.5 11.800A7 7 0 0 1 8.2 3.500a7 7 0 1 0 8.3 8.300z" />
  </Icon>
);

export const SystemIcon = () => (
  <Icon>
    <rect x="2.5" y="3.5" width="15" height="10" rx="1.5" />
    <path d="M7 16.500h6M10 13.500v3" />
  </Icon>
);

export const CopyIcon = () => (
  <Icon>
    <rect x="7" y="7" width="9.5" height="9.5" rx="1.5" />
    <path d="M13 7V5a1.5 1.5 0 0 0-1.5-1.500H5A1.5 1.5 0 0 0 3.5 5v6.500A1.5 1.5 0 0 0 5 13h2" />
  </Icon>
);

export const CheckIcon = () => (
  <Icon>
    <path d="M4 10.500l4 4 8-9" />
  </Icon>
);

export const AlertIcon = () => (
  <Icon>
    <path d="M10 2.800l8 14H2zM10 8v4M10 14.300v.2" />
  </Icon>
);

export const InfoIcon = () => (
  <Icon>
    <circle cx="10" cy="10" r="7.5" />
    <path d="M10 9v5M10 6v.2" />
  </Icon>
);

export const BackIcon = () => (
  <Icon>
    <path d="M12 4l-6 6 6 6" />
  </Icon>
);

export const LinkIcon = () => (
  <Icon>
    <path d="M8.5 11.500l3-3M7 9.500L5 11.500a2.5 2.5 0 0 0 3.5 3.500l2-2M13 10.500l2-2A2.5 2.5 0 0 0 11.5 5l-2 2" />
  </Icon>
);

export const BoxIcon = () => (
  <Icon>
    <path d="M10 2.500l7 3.500v8l-7 3.500L3 14V6zM3 6l7 3.500L17 6M10 9.500v8" />
  </Icon>
);

export const DiskIcon = () => (
  <Icon>
    <ellipse cx="10" cy="5" rx="6.5" ry="2.5" />
    <path d="M3.5 5v10c0 1.4 2.9 2.5 6.5 2.500s6.5-1.1 6.5-2.500V5M3.5 10c0 1.4 2.9 2.5 6.5 2.500s6.5-1.1 6.5-2.5" />
  </Icon>
);

export const UploadIcon = () => (
  <Icon>
    <path d="M10 13V3.500M6 7l4-3.700L14 7M3.5 12.500v3a1 1 0 0 0 1 1h11a1 1 0 0 0 1-1v-3" />
  </Icon>
);

export const SignOutIcon = () => (
  <Icon>
    <path d="M8 3.500H4.500a1 1 0 0 0-1 1v11a1 1 0 0 0 1 1H8M12.5 6.500L16 10l-3.5 3.500M16 10H8" />
  </Icon>
);

export const PauseIcon = () => (
  <Icon>
    <path d="M7 4.500v11M13 4.500v11" />
  </Icon>
);

export const PlayIcon = () => (
  <Icon>
    <path d="M6 4l10 6-10 6z" />
  </Icon>
);
