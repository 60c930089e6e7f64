/** What makes new imports wait, such as garbage collection. */
export interface ProvisioningGate {
  /** False: no import may begin now; those that run go on. */
  isOpen(): boolean;
  /** Calls back when it opens, until the returned function is called. */
  onOpen(listener: () => void): () => void;
}
